import type { Batch } from '../data/batches.ts';
import { fakeQuantize } from '../emit/fake-quantize.ts';
import type { Part } from '../emit/grouped-ffn.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import { extractModel } from '../onnx/extract.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { toFloats } from '../runtime/session.ts';
import { runBatches } from './run-batches.ts';
import { addValidInput } from './valid-input.ts';

/** What a written layer quantizes in front of its linears. */
export interface QuantizedRows {
  /** [n, channels] in float32. */
  rows: Value;
  /** Row number of each row's token, [n]; null where the rows are the tokens themselves. */
  tokens: Value | null;
}

/** Per part, the squared error of its rounding with each candidate, summed over rows. */
export type ActivationErrors = Record<Part, Float64Array>;

/**
 * Runs a written model and measures what rounding its activations costs with other shares of each token's range, see
 * `ActivationClips`: one entry per layer. The model is left as it is.
 * @throws Fault ORT_*
 */
export async function measureActivations(
  model: Model,
  layers: readonly Record<Part, QuantizedRows>[],
  { bits, ratios }: { bits: number; ratios: readonly number[] },
  batches: readonly Batch[],
  options: SessionOptions = {},
): Promise<ActivationErrors[]> {
  const inputs = layers.flatMap(({ input, hidden }) => [input, hidden]);
  const values = inputs.flatMap(({ rows, tokens }) => (tokens ? [rows, tokens] : [rows]));
  const copy = extractModel(model, [...new Set(values)], []);
  const copyOf = new Map([...new Set(values)].map((value, i) => [value, copy.graph.outputs[i]]));
  const valid = addValidInput(copy, batches);
  const taps = inputs.map(({ rows, tokens }, i) => {
    const b = builder(copy.graph, `activations/${i}`);
    const kept = keptRows(b, copyOf.get(rows)!, tokens && copyOf.get(tokens)!, valid);
    return errorsOf(b, kept, bits, ratios);
  });
  copy.graph.outputs = taps;
  const sums = taps.map(() => new Float64Array(ratios.length));
  await runBatches(copy, batches, { valid }, options, (results) =>
    taps.forEach(({ name }, i) =>
      toFloats(results[name]).forEach((error, candidate) => (sums[i][candidate] += error)),
    ),
  );
  return layers.map((_, i) => ({ input: sums[2 * i], hidden: sums[2 * i + 1] }));
}

/** The rows that are no padding. */
function keptRows(b: Builder, rows: Value, tokens: Value | null, valid: Value | null): Value {
  if (!valid) return rows;
  const keep = tokens ? b.op('Gather', [valid, tokens]) : valid;
  return b.op('Compress', [rows, keep], { axis: 0 }, { name: 'kept' });
}

/** [candidates] */
function errorsOf(b: Builder, x: Value, bits: number, ratios: readonly number[]): Value {
  const errors = ratios.map((ratio) => {
    const lost = b.op('Sub', [fakeQuantize(b, x, bits, ratio), x]);
    return b.op('Reshape', [b.op('ReduceSumSquare', [lost], { keepdims: 0 }), b.ints([1])]);
  });
  return b.op('Concat', errors, { axis: 0 }, { name: 'errors' });
}
