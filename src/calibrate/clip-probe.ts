import { builder } from '../onnx/build.ts';
import type { Graph } from '../onnx/graph.ts';
import type { Value } from '../onnx/value.ts';
import type { Probe } from '../run/probe.ts';
import { toFloats } from '../runtime/session.ts';
import type { ClipTrial } from './tap-clips.ts';
import { tapClips } from './tap-clips.ts';

/** What each candidate of a router costs, summed over tokens; see `ClipTaps`. */
export interface ClipSums {
  tokens: number;
  squares: Float64Array;
  divergence: Float64Array;
}

/** A probe that compares quantized forms of a router with the float one. */
export interface ClipProbe extends Probe {
  /** Of the batches taken so far. */
  sums: ClipSums;
}

/** Adds the sums of {@link tapClips} to a graph. */
export function clipProbe(graph: Graph, trial: ClipTrial, valid: Value | null): ClipProbe {
  const taps = tapClips(builder(graph, 'moeq/clips'), trial, valid);
  const { length } = trial.candidates;
  const sums = { tokens: 0, squares: new Float64Array(length), divergence: new Float64Array(length) };
  return {
    sums,
    outputs: Object.values(taps),
    take(results) {
      const valuesOf = ({ name }: Value): Float32Array => toFloats(results[name]);
      sums.tokens += valuesOf(taps.tokens)[0];
      valuesOf(taps.squares).forEach((sum, c) => (sums.squares[c] += sum));
      valuesOf(taps.divergence).forEach((sum, c) => (sums.divergence[c] += sum));
    },
  };
}
