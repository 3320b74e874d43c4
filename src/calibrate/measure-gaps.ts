import type { Batch } from '../data/batches.ts';
import { validRows } from '../data/batches.ts';
import type { Model } from '../onnx/model.ts';
import type { Session, SessionOptions } from '../runtime/session.ts';
import { openSession, toFloats } from '../runtime/session.ts';
import type { GapTaps, RouterPair } from './join-routers.ts';
import { joinRouters } from './join-routers.ts';
import { addValidInput } from './valid-input.ts';

/** Sums over tokens, row-major; see {@link GapTaps}. */
export interface GapSums {
  gram: Float64Array;
  cross: Float64Array;
  energy: number;
}

/**
 * Runs a model beside a changed form of it over several sets of batches, and sums for each set how the routers differ:
 * one entry per set and router. `original` is rewritten: pass one of your own.
 * @throws Fault ORT_*
 */
export async function measureGaps(
  original: Model,
  changed: Model,
  routers: readonly RouterPair[],
  sets: readonly (readonly Batch[])[],
  options: SessionOptions = {},
): Promise<GapSums[][]> {
  const valid = sets.flat().some((batch) => batch.valid) ? addValidInput(original) : null;
  const taps = joinRouters(original, changed, routers, valid);
  const session = await openSession(original, options);
  try {
    const sums: GapSums[][] = [];
    for (const batches of sets) sums.push(await sumOver(session, batches, taps, valid?.name ?? null));
    return sums;
  } finally {
    await session.release();
  }
}

async function sumOver(
  session: Session,
  batches: readonly Batch[],
  taps: readonly GapTaps[],
  valid: string | null,
): Promise<GapSums[]> {
  const sums: (GapSums | null)[] = taps.map(() => null);
  for (const batch of batches) {
    const feeds = valid === null ? batch.feeds : { ...batch.feeds, [valid]: validRows(batch) };
    const results = await session.run(feeds);
    taps.forEach((tap, i) => {
      const [gram, cross, [energy]] = [tap.gram, tap.cross, tap.energy].map((value) =>
        toFloats(results[value.name]),
      );
      const sum = (sums[i] ??= {
        gram: new Float64Array(gram.length),
        cross: new Float64Array(cross.length),
        energy: 0,
      });
      addTo(sum.gram, gram);
      addTo(sum.cross, cross);
      sum.energy += energy;
    });
  }
  return sums as GapSums[];
}

function addTo(target: Float64Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += values[i];
}
