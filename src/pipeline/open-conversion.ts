import type { QuantizeConfig } from '../config/schema.ts';
import type { DataRecord } from '../data/record.ts';
import { readRecords } from '../data/records.ts';
import { openTokenizer } from '../data/tokenizer.ts';
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

/** What a conversion reads, and where it writes. */
export interface OpenedConversion {
  output: string;
  data: CalibrationData | null;
  /** The records to verify on; null where neither a report nor gates are asked for. */
  measuredOn: readonly DataRecord[] | null;
}

/**
 * Opens all but the model: what could fail for want of records or for the output's place fails before the work.
 * @throws Fault GATE_UNKNOWN, OUTPUT_EXISTS, DATA_REQUIRED, and those of reading records
 */
export function openConversion(conversion: Conversion): OpenedConversion {
  const { model, config, force } = conversion;
  const output = outputOf(conversion);
  requireKnownGates(config.gates);
  refuseOutput(output, model, { force, externalData: config.output.externalData });
  const data = openCalibrationData(model, config);
  requireRecords(config, data !== null);
  return { output, data, measuredOn: verificationRecords(conversion, data) };
}

/** The file a conversion writes. */
function outputOf({ model, output, config }: Conversion): string {
  return output ?? model.replace(/(\.onnx)?$/, `.${config.scheme}.onnx`);
}

/** @throws Fault DATA_REQUIRED where a report or gates are asked for, and those of reading records */
function verificationRecords(
  { model, config, reportFolder }: Conversion,
  calibration: CalibrationData | null,
): readonly DataRecord[] | null {
  const { data, records: limit } = config.verify;
  if (!hasGates(config) && reportFolder === null) return null;
  requireMeasurable(config);
  const records = data === null ? calibration!.records : openRecords(data, model, config);
  return records.slice(0, limit ?? undefined);
}

/** The records a config names to calibrate on; null where it names none. */
export function openCalibrationData(model: string, config: QuantizeConfig): CalibrationData | null {
  const { data, calibration } = config;
  const { pool } = calibration.balance;
  if (data === null) return null;
  return {
    records: openRecords(data, model, config),
    pool: pool === null ? [] : openRecords(pool, model, config),
  };
}

function openRecords(data: string, model: string, { tokenizer }: QuantizeConfig): DataRecord[] {
  return readRecords(data, openTokenizer(tokenizer, model));
}
