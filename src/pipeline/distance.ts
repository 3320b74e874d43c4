import type { QuantizeConfig } from '../config/schema.ts';
import type { DataRecord } from '../data/record.ts';
import type { Model } from '../onnx/model.ts';
import type { Report } from '../report/report.ts';
import { sessionOptions } from './session-options.ts';
import { tryModel } from './try-model.ts';

/** So many records tell two recipes apart. */
export const recordsTried = 256;

/** Fewer choices that differ do not make a model better than another. */
const leastLack = 1e-3;

/** How far a written model is from the reference on records: by it one recipe is preferred to another. */
export async function distanceFrom(
  model: Model,
  records: readonly DataRecord[],
  { path, config }: { path: string; config: QuantizeConfig },
): Promise<number> {
  return distanceIn(await tryModel(path, model, records.slice(0, recordsTried), sessionOptions(config)));
}

/** Divergence of the output times what the routers choose otherwise, where it is worst. */
function distanceIn({ output, layers }: Report): number {
  const agreements = layers.map(({ router }) => router.cumulative.topKAgreement);
  return output.kl * (1 - Math.min(...agreements) + leastLack);
}
