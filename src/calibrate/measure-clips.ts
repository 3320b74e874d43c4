import type { Batch } from '../data/batches.ts';
import { builder } from '../onnx/build.ts';
import { graft } from '../onnx/graft.ts';
import { Graph } from '../onnx/graph.ts';
import type { Model } from '../onnx/model.ts';
import { newModel } from '../onnx/model.ts';
import { runBatches } from '../run/run-batches.ts';
import { addValidInput } from '../run/valid-input.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { toFloats } from '../runtime/session.ts';
import type { ClipTrial } from './tap-clips.ts';
import { tapClips } from './tap-clips.ts';

/** What each candidate of one router costs, summed over tokens; see `ClipTaps`. */
export interface ClipSums {
  tokens: number;
  squares: Float64Array;
  divergence: Float64Array;
}

/**
 * Runs the part of a model that its routers need, as it stands, and compares quantized forms of each router with the
 * float one. The model is left as it is.
 * @throws Fault ORT_*
 */
export async function measureClips(
  model: Model,
  trials: readonly ClipTrial[],
  batches: readonly Batch[],
  options: SessionOptions = {},
): Promise<ClipSums[]> {
  const graph = new Graph('clips');
  const copy = newModel(graph, Object.fromEntries(model.opsets), model.irVersion, model.path);
  const inputs = graft(
    graph,
    trials.map(({ input }) => input),
    new Map(),
    '',
  );
  const valid = addValidInput(copy, batches);
  const taps = trials.map((trial, i) =>
    tapClips(builder(graph, `clips/${i}`), { ...trial, input: inputs[i] }, valid),
  );
  graph.outputs = taps.flatMap(({ tokens, squares, divergence }) => [tokens, squares, divergence]);
  const sums = trials.map(({ candidates: { length } }): ClipSums => ({
    tokens: 0,
    squares: new Float64Array(length),
    divergence: new Float64Array(length),
  }));
  await runBatches(copy, batches, { valid }, options, (results) =>
    taps.forEach(({ tokens, squares, divergence }, i) => {
      sums[i].tokens += toFloats(results[tokens.name])[0];
      toFloats(results[squares.name]).forEach((sum, c) => (sums[i].squares[c] += sum));
      toFloats(results[divergence.name]).forEach((sum, c) => (sums[i].divergence[c] += sum));
    }),
  );
  return sums;
}
