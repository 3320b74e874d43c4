import * as ort from 'onnxruntime-node';
import type { Model } from '../../../src/onnx/model.ts';
import { encodeModel } from '../../../src/onnx/save-model.ts';
import type { Value } from '../../../src/onnx/value.ts';

/** A reproducible stream of numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Dimensions of a model input for 2 records of 12 tokens. */
function sizeOf(dim: number | string | null, index: number): number {
  if (typeof dim === 'number') return dim;
  return index === 0 ? 2 : 12;
}

/** Random values for every input of a model: numbers, or token ids below `vocabulary`. */
export function randomFeeds(model: Model, vocabulary = 60): Record<string, ort.Tensor> {
  const next = random(7);
  const inputs = model.graph.inputs.filter(({ tensor }) => !tensor);
  return Object.fromEntries(
    inputs.map((input) => {
      const dims = (input.shape ?? []).map(sizeOf);
      const count = dims.reduce((product, dim) => product * dim, 1);
      if (input.dtype === 'int64') {
        const value = (index: number): number =>
          input.name.includes('mask')
            ? 1
            : input.name.includes('position')
              ? index % 12
              : Math.floor(next() * vocabulary);
        return [
          input.name,
          new ort.Tensor(
            'int64',
            BigInt64Array.from({ length: count }, (_, index) => BigInt(value(index))),
            dims,
          ),
        ];
      }
      return [
        input.name,
        new ort.Tensor(
          'float32',
          Float32Array.from({ length: count }, () => 4 * next() - 2),
          dims,
        ),
      ];
    }),
  );
}

/** Runs a model and gives the numbers of some of its inner values. */
export async function valuesOf(
  model: Model,
  values: readonly Value[],
  feeds: Record<string, ort.Tensor>,
): Promise<Map<Value, ArrayLike<number>>> {
  const { outputs } = model.graph;
  model.graph.outputs = [...new Set([...outputs, ...values])].filter(
    (value) => !model.graph.inputs.includes(value),
  );
  const session = await ort.InferenceSession.create(encodeModel(model), {
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
  });
  model.graph.outputs = outputs;
  try {
    const names = values.map(({ name }) => name).filter((name) => session.outputNames.includes(name));
    const results = await session.run(feeds, [...new Set(names)]);
    return new Map(values.map((value) => [value, numbers((results[value.name] ?? feeds[value.name]).data)]));
  } finally {
    await session.release();
  }
}

function numbers(data: ort.Tensor['data']): ArrayLike<number> {
  return Array.from(data as ArrayLike<number | bigint>, Number);
}
