import type { QuantizeConfig } from '../config/schema.ts';
import type { DataRecord } from '../data/record.ts';
import { firstRecords } from '../data/record.ts';
import { readRecords } from '../data/records.ts';
import { openTokenizer } from '../data/tokenizer.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import { requireKnownGates } from '../report/gates/gate-keys.ts';
import type { CalibrationData } from './balance-data.ts';
import { hasGates, requireMeasurable, requireRecords } from './needs-records.ts';
import { refuseOutput } from './refuse-output.ts';

/** One conversion, from file to file. */
export interface Conversion {
  model: string;
  /** Null for `MODEL.SCHEME.onnx` beside the model. */
  output: string | null;
  config: QuantizeConfig;
  /** Folder for report.json; null for none. */
  reportFolder: string | null;
  force: boolean;
}

/** What a conversion reads besides the model. */
export interface ConversionRecords {
  data: CalibrationData | null;
  /** The records to verify on; null where neither a report nor gates are asked for. */
  measuredOn: readonly DataRecord[] | null;
}

/** Reads the records at a place for a model. */
export type RecordReader = (path: string, model: string, config: QuantizeConfig) => readonly DataRecord[];

export const openRecords: RecordReader = (path, model, { tokenizer }) =>
  readRecords(path, openTokenizer(tokenizer, model));

/**
 * Opens all but the model: what could fail for want of records or for the output's place fails before the work.
 * @throws Fault OUTPUT_EXISTS, and those of `openRecordsOf`
 */
export function openConversion(conversion: Conversion): ConversionRecords & { output: string } {
  const { model, config, force, reportFolder } = conversion;
  const output = outputOf(conversion);
  refuseOutput(output, model, { force, externalData: config.output.externalData });
  return { output, ...openRecordsOf(model, config, reportFolder !== null) };
}

/** The file a conversion writes. */
function outputOf({ model, output, config }: Conversion): string {
  return output ?? model.replace(/(\.onnx)?$/, `.${config.scheme}.onnx`);
}

/**
 * The records a conversion calibrates and is measured on.
 * @throws Fault GATE_UNKNOWN, SCHEME_TARGET, GROUP_TARGET, DATA_REQUIRED, and those of reading records
 */
export function openRecordsOf(
  model: string,
  config: QuantizeConfig,
  hasReport: boolean,
  read: RecordReader = openRecords,
): ConversionRecords {
  requireKnownGates(config.gates);
  // What cannot be written would not be with records either.
  resolveTarget(config);
  requireRecords(config, config.data !== null);
  const isMeasured = hasReport || hasGates(config);
  if (isMeasured) requireMeasurable(config);
  const data = openCalibrationData(model, config, read);
  const { data: path, records: limit } = config.verify;
  if (!isMeasured) return { data, measuredOn: null };
  const measuredOn = path === null ? data!.records : read(path, model, config);
  return { data, measuredOn: firstRecords(measuredOn, limit) };
}

/** The records a config names to calibrate on; null where it names none. */
export function openCalibrationData(
  model: string,
  config: QuantizeConfig,
  read: RecordReader = openRecords,
): CalibrationData | null {
  const { data, calibration } = config;
  const { pool } = calibration.balance;
  if (data === null) return null;
  return {
    records: read(data, model, config),
    pool: pool === null ? [] : read(pool, model, config),
  };
}
