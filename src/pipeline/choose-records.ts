import type { Balance } from '../calibrate/balance-records.ts';
import { balanceRecords } from '../calibrate/balance-records.ts';
import { countTokens } from '../calibrate/count-tokens.ts';
import type { RunOptions } from '../calibrate/run-probes.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { DataRecord } from '../data/record.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { openModel } from '../onnx/open-model.ts';

/** The records a model is calibrated on. */
export interface ChosenRecords {
  records: DataRecord[];
  /** How the choice changed what the experts see; null when balancing is off. */
  balance: Balance | null;
}

/**
 * The first `calibration.records` records, topped up from the others and from `pool` for experts that see too few
 * tokens.
 */
export async function chooseRecords(
  path: string,
  records: readonly DataRecord[],
  pool: readonly DataRecord[],
  { records: limit, balance: settings }: QuantizeConfig['calibration'],
  options: RunOptions,
): Promise<ChosenRecords> {
  const base = Math.min(limit ?? records.length, records.length);
  if (!settings.enabled) return { records: records.slice(0, base), balance: null };
  const all = [...records, ...pool];
  const batches = [...makeBatches(all, declaredInputs(openModel(path)))];
  const counts = await countTokens(() => prepareModel(path), batches, all.length, options);
  const balance = balanceRecords(counts, base, settings.ratio);
  return { records: balance.chosen.map((index) => all[index]), balance };
}
