import { expect } from 'vitest';
import type { Model } from '../../src/onnx/model.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';

/** Makes a graph believe, in each of `times` places, that its processor saturates or does not; see `saturates`. */
export function pretendProcessor(model: Model, saturates: boolean, times: number): void {
  const conditions = model.graph.nodes.filter(({ name }) => name.includes('/saturates'));
  expect(conditions).toHaveLength(times);
  for (const { inputs } of conditions) {
    const sum = Int32Array.of(saturates ? 2 ** 30 : 0);
    inputs[1]!.tensor = makeTensor(inputs[1]!.name, 'int32', [], new Uint8Array(sum.buffer));
  }
}
