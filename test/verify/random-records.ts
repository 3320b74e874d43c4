import { declaredInputs } from '../../src/data/model-input.ts';
import type { DataRecord } from '../../src/data/record.ts';
import type { Model } from '../../src/onnx/model.ts';
import { random } from '../moe/helpers/run-model.ts';

/** Random records of 12 tokens for a model without token ids. */
export function randomRecords(model: Model, count: number): DataRecord[] {
  const next = random(5);
  const inputs = declaredInputs(model).filter(({ name }) => name !== 'attention_mask');
  return Array.from({ length: count }, (_, i) => ({
    source: `record ${i}`,
    task: null,
    answerStart: null,
    inputs: Object.fromEntries(
      inputs.map(({ name, shape }) => {
        const dims = (shape ?? []).slice(1).map((dim) => (typeof dim === 'number' ? dim : 12));
        const length = dims.reduce((product, dim) => product * dim, 1);
        const data = Float32Array.from({ length }, () => 2 * next() - 1 + next());
        return [name, { dtype: 'float32' as const, shape: dims, data }];
      }),
    ),
  }));
}
