import type { Batch } from '../data/batches.ts';
import type { Model } from '../onnx/model.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { toFloats } from '../runtime/session.ts';
import type { RouterPair } from './join-routers.ts';
import { joinRouters } from './join-routers.ts';
import { runBatches } from './run-batches.ts';
import { addValidInput } from './valid-input.ts';

/** How a router differs in two models, summed over tokens, row-major; see `GapTaps`. */
export interface GapSums {
  gram: Float64Array;
  cross: Float64Array;
}

/**
 * Runs a model beside a changed form of it and sums how their routers differ, one entry per router. `original` is
 * rewritten: pass one of your own.
 * @throws Fault ORT_*
 */
export async function measureGaps(
  original: Model,
  changed: Model,
  routers: readonly RouterPair[],
  batches: readonly Batch[],
  options: SessionOptions = {},
): Promise<GapSums[]> {
  const valid = addValidInput(original, batches);
  const taps = joinRouters(original, changed, routers, valid);
  const sums = routers.map(({ original: { view } }): GapSums => ({
    gram: new Float64Array(view.cols * view.cols),
    cross: new Float64Array(view.cols * view.rows),
  }));
  await runBatches(original, batches, { valid }, options, (results) =>
    taps.forEach(({ gram, cross }, i) => {
      addTo(sums[i].gram, toFloats(results[gram.name]));
      addTo(sums[i].cross, toFloats(results[cross.name]));
    }),
  );
  return sums;
}

function addTo(target: Float64Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += values[i];
}
