import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import { builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';
import type { Value } from '../../src/onnx/value.ts';
import { encodeNumbers } from '../../src/tensor/encode.ts';
import { readFloats } from '../../src/tensor/view.ts';

/** Changes the numbers of one constant. */
export function editConstant(model: Model, name: string, edit: (values: Float32Array) => void): void {
  const constant = [...model.graph.constants].find((value) => value.name === name);
  if (!constant) throw new Error(`there is no constant ${name}`);
  const { dtype, shape } = constant.tensor!.source;
  const values = readFloats(constant.tensor!.source);
  edit(values);
  constant.tensor = makeTensor(name, dtype, shape, encodeNumbers(values, dtype));
}

/** One expert's weight scales of `up` times a factor: as if the scale had been written wrongly. */
export function scaleExpert(model: Model, layer: string, expert: number, factor: number): void {
  const experts = 16;
  editConstant(model, `moeq/${layer}/gate_up/scales`, (values) => {
    const width = values.length / experts;
    for (let i = (expert + 0.5) * width; i < (expert + 1) * width; i++) values[i] *= factor;
  });
}

/** Two columns of a router exchanged: their experts get each other's tokens. */
export function swapColumns(model: Model, { router }: MoeLayer, a: number, b: number): void {
  const { name, weight } = router.linear!;
  editConstant(model, name, (values) => {
    for (let column = 0; column < weight.cols; column++) {
      const at = (row: number): number => weight.offset + row * weight.rowStride + column * weight.colStride;
      [values[at(a)], values[at(b)]] = [values[at(b)], values[at(a)]];
    }
  });
}

/** What the experts of one layer hold between their linears, cut to ± a limit. */
export function clipHidden({ graph }: Model, layer: string, limit: number): void {
  const made = graph.nodes.flatMap(({ outputs }) => outputs);
  const hidden = made.find((value): value is Value => value?.name === `moeq/${layer}/hidden`)!;
  const b = builder(graph, 'broken');
  const readers = [...hidden.uses];
  const clipped = b.op('Clip', [
    hidden,
    b.constant('low', 'float32', [], [-limit]),
    b.constant('high', 'float32', [], [limit]),
  ]);
  for (const { node, index } of readers) node.setInput(index, clipped);
}
