import { dirname, join } from 'node:path';
import type { QuantizeConfig } from '../config/schema.ts';
import type { DataRecord } from '../data/record.ts';
import { readRecords } from '../data/records.ts';
import { openTokenizer } from '../data/tokenizer.ts';
import { Fault } from '../fault.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { storedBytesOf } from '../onnx/model.ts';
import { openModel } from '../onnx/open-model.ts';
import type { StagedModel } from '../onnx/write-model.ts';
import { stageModel } from '../onnx/write-model.ts';
import { requireKnownGates } from '../report/gate-keys.ts';
import { evaluateGates } from '../report/gates.ts';
import { reportHtml } from '../report/html.ts';
import type { CensusRow, Report } from '../report/report.ts';
import { serializeReport } from '../report/serialize-report.ts';
import { makeFolder, writeText } from '../tensor/output-files.ts';
import { takeCensus } from '../verify/census.ts';
import { parityChecks } from '../verify/parity-checks.ts';
import { verify } from '../verify/verify.ts';
import type { CalibrationData } from './balance-data.ts';
import type { Progress } from './progress.ts';
import { recordProgress } from './progress.ts';
import type { QuantizedModel } from './quantize-model.ts';
import { quantizeModel } from './quantize-model.ts';
import { refuseOutput } from './refuse-output.ts';
import { reportCalibration } from './report-calibration.ts';
import type { Workshop } from './workshop.ts';
import { plainWorkshop } from './workshop.ts';
import { verifyOptions } from './verify-options.ts';

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

export interface ConversionResult {
  model: string;
  output: string;
  scheme: string;
  bytes: { before: number; after: number };
  expertBitsPerWeight: number | null;
  census: CensusRow[];
  /** What was not done or could not be measured, and why. */
  notes: string[];
  /** Calibration tokens per expert and layer; null for a data-free conversion. */
  calibration: { layer: string; tokens: number; experts: { id: string; tokens: number }[] }[] | null;
  /** Present when a report or gates were asked for. */
  report: Report | null;
}

/**
 * Converts a model file and, when a report or gates are asked for, verifies the result.
 * The output appears under its name only when it is complete and computes what it should.
 * @throws Fault GATE_UNKNOWN, OUTPUT_EXISTS, OUTPUT_FAILED, PARITY (and then an output that was there is as it was), and those of reading, quantizing, writing and verifying
 */
export async function convert(
  conversion: Conversion,
  progress: Progress,
  workshop: Workshop = plainWorkshop,
): Promise<ConversionResult> {
  const { model: path, config, reportFolder } = conversion;
  const output = outputOf(conversion);
  requireKnownGates(config.gates);
  refuseOutput(output, path, conversion.force);
  const data = openCalibrationData(path, config);
  // What could fail for want of records, or of a place for the results, fails before the work.
  const measuredOn = verificationRecords(conversion, data);
  makeFolder(dirname(output));
  if (reportFolder) makeFolder(reportFolder);
  const quantized = await quantizeModel(path, data, config, progress, workshop);
  progress({ stage: 'write', detail: output });
  const staged = stageModel(quantized.model, output, { force: conversion.force, ...externalDataOf(config) });
  await publishWithParity(staged, quantized, progress, workshop);
  const measured = measuredOn && (await verifyWritten(conversion, output, measuredOn, progress));
  const calibration = reportCalibration(quantized);
  const notes = [...quantized.notes, ...(measured?.notes ?? [])];
  const report = measured && {
    ...measured,
    // The file holds what made it; the report also tells with which records.
    recipe: { ...config, threads: 'auto' },
    ...(calibration && { calibration }),
    ...(notes.length > 0 && { notes }),
  };
  if (report && reportFolder) writeReport(report, reportFolder);
  const { census, size } = report ?? countedOnly(path, output);
  return {
    model: path,
    output,
    scheme: config.scheme,
    bytes: { before: storedBytesOf(openModel(path)), after: storedBytesOf(openModel(output)) },
    expertBitsPerWeight: size.expertBitsPerWeight,
    census,
    notes,
    calibration:
      quantized.calibration?.stats.map(({ id, tokens, experts }) => ({
        layer: id,
        tokens,
        experts: experts.map((expert) => ({ id: expert.id, tokens: expert.tokens })),
      })) ?? null,
    report,
  };
}

/** What a report says without running anything. */
function countedOnly(
  path: string,
  output: string,
): { census: CensusRow[]; size: { expertBitsPerWeight: number | null } } {
  const { rows, expertBitsPerWeight } = takeCensus(prepareModel(path), openModel(output));
  return { census: rows, size: { expertBitsPerWeight } };
}

/** Lets the files that were written take their place if they compute what they should. */
async function publishWithParity(
  staged: StagedModel,
  { probes, dense }: QuantizedModel,
  progress: Progress,
  workshop: Workshop,
): Promise<void> {
  progress({ stage: 'parity', detail: 'every written linear, executed' });
  try {
    // The disk takes the files meanwhile.
    await Promise.all([staged.flush(), workshop.check(staged.path, parityChecks(probes, dense?.probes))]);
    staged.publish();
  } finally {
    staged.discard();
  }
}

/** The file a conversion writes. */
export function outputOf({ model, output, config }: Conversion): string {
  return output ?? model.replace(/(\.onnx)?$/, `.${config.scheme}.onnx`);
}

/** The records to verify on; null where neither a report nor gates are asked for. @throws Fault DATA_REQUIRED */
function verificationRecords(
  { model, config, reportFolder }: Conversion,
  calibration: CalibrationData | null,
): readonly DataRecord[] | null {
  const { gates, verify: settings } = config;
  const hasGates = Object.keys(gates.min).length + Object.keys(gates.max).length > 0;
  if (!hasGates && reportFolder === null) return null;
  const records = settings.data === null ? calibration?.records : openRecords(settings.data, model, config);
  if (!records) throw verificationNeedsData();
  return limited(records, settings.records);
}

async function verifyWritten(
  { model, config }: Conversion,
  output: string,
  records: readonly DataRecord[],
  progress: Progress,
): Promise<Report> {
  const report = await verify(model, output, records, {
    ...verifyOptions(model, config),
    onBatch: recordProgress(progress, 'verify', records.length),
  });
  return { ...report, gates: evaluateGates(report, config.gates) };
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

function limited<T>(records: readonly T[], limit: number | null): readonly T[] {
  return limit === null ? records : records.slice(0, limit);
}

function externalDataOf({ output }: QuantizeConfig): { externalData?: boolean } {
  return output.externalData === 'auto' ? {} : { externalData: output.externalData === 'always' };
}

/**
 * Writes `report.json` and `report.html` into a folder, which is made if need be; each appears whole or not at all.
 * @throws Fault OUTPUT_FAILED
 */
export function writeReport(report: Report, folder: string): void {
  writeText(join(folder, 'report.json'), serializeReport(report));
  writeText(join(folder, 'report.html'), reportHtml(report));
}

function verificationNeedsData(): Fault {
  return new Fault({
    code: 'DATA_REQUIRED',
    what: 'a report needs records to measure on',
    remedy: 'give --data, or --set verify.data=FILE',
  });
}
