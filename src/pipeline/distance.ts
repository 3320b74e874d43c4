import type { QuantizeConfig } from '../config/schema.ts';
import type { DataRecord } from '../data/record.ts';
import type { Model } from '../onnx/model.ts';
import type { Report } from '../report/report.ts';
import { sessionOptions } from './session-options.ts';
import { tryModel } from './try-model.ts';

/** How far a model is from the reference. */
export interface Distance {
  /** Divergence of the output, in nats. */
  divergence: number;
  /** Share of the routers' choices that differ, over all layers: the worst one alone tells less, by chance. */
  rerouted: number;
}

/** So many records tell two recipes apart. */
export const recordsTried = 256;

/** Fewer choices that differ do not make a model better than another. */
const leastRerouted = 1e-3;

/** How far a written model is from the reference on records: by it one recipe is preferred to another. */
export async function distanceFrom(
  model: Model,
  records: readonly DataRecord[],
  { path, config }: { path: string; config: QuantizeConfig },
): Promise<Distance> {
  return distanceIn(await tryModel(path, model, records.slice(0, recordsTried), sessionOptions(config)));
}

/** Both in one number, since either can be bought with the other: their product. */
export function joint({ divergence, rerouted }: Distance): number {
  return divergence * (rerouted + leastRerouted);
}

function distanceIn({ output, layers }: Report): Distance {
  const agreement = layers.reduce((sum, { router }) => sum + router.cumulative.topKAgreement, 0);
  return { divergence: output.kl, rerouted: 1 - agreement / layers.length };
}
