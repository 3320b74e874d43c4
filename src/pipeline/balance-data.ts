import type { Balance } from '../calibrate/balance-records.ts';
import { balanceRecords } from '../calibrate/balance-records.ts';
import { countTokens } from '../calibrate/count-tokens.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/model-input.ts';
import type { DataRecord } from '../data/record.ts';
import { firstRecords } from '../data/record.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { openModel } from '../onnx/open-model.ts';
import type { RunOptions } from '../run/run-probes.ts';

/** Records to calibrate on, and more to top up starving experts from. */
export interface CalibrationData {
  records: readonly DataRecord[];
  pool: readonly DataRecord[];
}

type CalibrationConfig = QuantizeConfig['calibration'];

/**
 * Balances the first `calibration.records` records: tops them up from the others and from the pool for experts that see
 * too few tokens. Null when balancing is off.
 */
export async function balanceData(
  path: string,
  { records, pool }: CalibrationData,
  { records: limit, balance }: CalibrationConfig,
  options: RunOptions,
): Promise<Balance | null> {
  if (!balance.enabled) return null;
  const all = [...records, ...pool];
  const batches = [...makeBatches(all, declaredInputs(openModel(path)))];
  const counts = await countTokens(() => prepareModel(path), batches, all.length, options);
  return balanceRecords(counts, firstRecords(records, limit).length, balance.ratio);
}

/** What balancing could not do, for want of records to choose from; for the report. */
export function unbalanced(
  { records, pool }: CalibrationData,
  balance: Balance | null,
  { records: limit }: CalibrationConfig,
): string[] {
  const isAll = pool.length === 0 && (limit ?? records.length) >= records.length;
  const short = balance?.layers.reduce((sum, { after }) => sum + after.starved + after.unseen, 0) ?? 0;
  if (!isAll || short === 0) return [];
  return [
    `calibration.balance: ${short} expert${short === 1 ? '' : 's'} below the floor, and no pool of records to choose from`,
  ];
}

/** The records that were chosen. */
export function chosenRecords(
  { records, pool }: CalibrationData,
  balance: Balance | null,
  { records: limit }: CalibrationConfig,
): readonly DataRecord[] {
  if (!balance) return firstRecords(records, limit);
  const all = [...records, ...pool];
  return balance.chosen.map((index) => all[index]);
}
