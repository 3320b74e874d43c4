import { fakeQuantize } from '../emit/forms/fake-quantize.ts';
import type { Part } from '../emit/grouped-ffn.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Graph } from '../onnx/graph.ts';
import type { Value } from '../onnx/value.ts';
import type { Probe } from '../run/probe.ts';
import { toFloats } from '../runtime/session.ts';
import { keptFlags } from './kept-rows.ts';

/** What a written layer quantizes in front of its linears. */
export interface QuantizedRows {
  /** [n, channels] in float32. */
  rows: Value;
  /** The layer's tokens, [T, …]. */
  tokens: Value;
  /** Which of them each row is of, [n]; null where the rows are the tokens themselves. */
  places: Value | null;
}

/** Per part, the squared error of its rounding with each candidate, summed over rows. */
export type ActivationErrors = Record<Part, Float64Array>;

/** Other grids that are tried: of so many bits, spanning such shares of each token's range; see `ActivationClips`. */
export interface TriedGrids {
  bits: number;
  ratios: readonly number[];
}

/** A probe that adds up what rounding a layer's activations costs. */
export interface ActivationProbe extends Probe {
  /** Of the batches taken so far. */
  errors(): ActivationErrors;
}

/** Adds to a graph what other grids would lose beside those of a written layer. For `valid` see `keptFlags`. */
export function activationProbe(
  graph: Graph,
  layer: Record<Part, QuantizedRows>,
  tried: TriedGrids,
  valid: Value | null,
): ActivationProbe {
  const b = builder(graph, 'moeq/activations');
  const taps = (['input', 'hidden'] as const).map((part) => ({
    part,
    output: errorsOf(b, realRows(b, layer[part], valid), tried),
    sums: new Float64Array(tried.ratios.length),
  }));
  return {
    outputs: taps.map(({ output }) => output),
    take(results) {
      for (const { output, sums } of taps)
        toFloats(results[output.name]).forEach((error, candidate) => (sums[candidate] += error));
    },
    errors: () => Object.fromEntries(taps.map(({ part, sums }) => [part, sums])) as ActivationErrors,
  };
}

/** The rows that are no padding. */
function realRows(b: Builder, { rows, tokens, places }: QuantizedRows, valid: Value | null): Value {
  if (!valid) return rows;
  const flags = keptFlags(b, tokens, valid);
  const keep = places ? b.op('Gather', [flags, places]) : flags;
  return b.op('Compress', [rows, keep], { axis: 0 }, { name: 'kept' });
}

/** [candidates] */
function errorsOf(b: Builder, x: Value, { bits, ratios }: TriedGrids): Value {
  const errors = ratios.map((ratio) => {
    const lost = b.op('Sub', [fakeQuantize(b, x, bits, ratio), x]);
    return b.op('Reshape', [b.op('ReduceSumSquare', [lost], { keepdims: 0 }), b.ints([1])]);
  });
  return b.op('Concat', errors, { axis: 0 }, { name: 'errors' });
}
