import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { QuantizeConfig } from '../config/schema.ts';
import type { DataRecord } from '../data/record.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import { inFolders } from '../files/output-files.ts';
import { readModelRecord } from '../moe/model-record.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { storedBytesOf } from '../onnx/model.ts';
import { openModel } from '../onnx/open-model.ts';
import type { StagedModel } from '../onnx/write-model.ts';
import { stageModel } from '../onnx/write-model.ts';
import type { CensusRow, Report } from '../report/report.ts';
import { takeCensus } from '../verify/census.ts';
import { verify } from '../verify/verify.ts';
import { isSmall } from './model-size.ts';
import type { Conversion, ConversionRecords } from './open-conversion.ts';
import { openConversion } from './open-conversion.ts';
import type { Progress } from './progress.ts';
import { recordProgress } from './progress.ts';
import type { QuantizedModel } from './quantize-model.ts';
import { quantizePrepared } from './quantize-model.ts';
import { weightsBeside } from './refuse-output.ts';
import { reportCalibration } from './report-calibration.ts';
import { requireConvertible } from './require-convertible.ts';
import { requireLoadable } from './require-loadable.ts';
import { sessionOptions, verifyOptions } from './run-options.ts';
import type { Workshop } from './workshop.ts';
import { plainWorkshop } from './workshop.ts';
import { checksOf } from './write-experts.ts';
import { judgeReport } from './write-report.ts';

export interface ConversionResult {
  model: string;
  output: string;
  scheme: string;
  bytes: { before: number; after: number };
  expertBitsPerWeight: number | null;
  execution: Report['execution'];
  census: CensusRow[];
  /** What was not done or could not be measured, and why. */
  notes: string[];
  /** Calibration tokens per expert and layer; null for a data-free conversion. */
  calibration: { layer: string; tokens: number; experts: { id: string; tokens: number }[] }[] | null;
  /** Present when a report or gates were asked for. */
  report: Report | null;
}

/**
 * Converts a model file and, when a report or gates are asked for, verifies the result. The output appears under its
 * name only when it is complete and computes what it should.
 * @throws Fault OUTPUT_FAILED, PARITY (and then an output that was there is as it was), and those of
 * `openConversion`, `requireConvertible`, quantizing, writing and verifying
 */
export async function convert(
  conversion: Conversion,
  progress: Progress,
  workshop: Workshop = plainWorkshop,
): Promise<ConversionResult> {
  const { model, config, reportFolder } = conversion;
  const { output, ...records } = openConversion(conversion);
  const prepared = prepareModel(model, resolveTarget(config).opset);
  requireConvertible(config, prepared, records);
  return inFolders([dirname(output), ...(reportFolder ? [reportFolder] : [])], () =>
    convertPrepared({ ...conversion, output }, prepared, records, progress, workshop),
  );
}

async function convertPrepared(
  conversion: Conversion & { output: string },
  prepared: PreparedModel,
  { data, measuredOn }: ConversionRecords,
  progress: Progress,
  workshop: Workshop,
): Promise<ConversionResult> {
  const { model: path, output, config, reportFolder } = conversion;
  const quantized = await quantizePrepared(prepared, data, config, progress, workshop);
  progress({ stage: 'write', detail: output });
  const staged = stageModel(quantized.model, output, { force: conversion.force, ...externalDataOf(config) });
  const place = {
    model: path,
    output,
    isMeasured: measuredOn !== null,
    isLoaded: isSmall(prepared.model),
    threads: config.threads,
  };
  const { counted, unloaded } = await publishWithParity(staged, place, quantized, progress, workshop);
  const measured = measuredOn && (await verifyWritten(conversion, output, measuredOn, progress));
  const notes = [...(data ? [] : [dataFree]), ...unloaded, ...quantized.notes, ...(measured?.notes ?? [])];
  const unjudged = measured && completeReport(measured, quantized, config, notes);
  const report = unjudged && judgeReport(unjudged, config.gates, reportFolder);
  const { census, size, execution } = report ?? counted!;
  return {
    model: path,
    output,
    scheme: config.scheme,
    bytes: { before: size.referenceBytes, after: size.quantizedBytes },
    expertBitsPerWeight: size.expertBitsPerWeight,
    execution,
    census,
    notes,
    calibration: calibrationTokens(quantized),
    report,
  };
}

/** What was measured, and what only the conversion knows: the written file tells what made it, but not with which records. */
function completeReport(
  measured: Report,
  quantized: QuantizedModel,
  config: QuantizeConfig,
  notes: string[],
): Report {
  const calibration = reportCalibration(quantized);
  return {
    ...measured,
    recipe: { ...config, threads: 'auto' },
    ...(calibration && { calibration }),
    ...(notes.length > 0 && { notes }),
  };
}

function calibrationTokens({ layers }: QuantizedModel): ConversionResult['calibration'] {
  const seen = layers.flatMap(({ stats }) => stats ?? []);
  if (seen.length === 0) return null;
  return seen.map(({ id: layer, tokens, experts }) => ({
    layer,
    tokens,
    experts: experts.map((expert) => ({ id: expert.id, tokens: expert.tokens })),
  }));
}

const dataFree = 'data-free: no record was calibrated on';

interface Place extends Pick<QuantizeConfig, 'threads'> {
  model: string;
  output: string;
  /** A report will count what was written. */
  isMeasured: boolean;
  /** What was written fits into memory as a whole. */
  isLoaded: boolean;
}

type Counted = Pick<Report, 'census' | 'size' | 'execution'>;

/**
 * Lets the files that were written take their place if they load and compute what they should, and counts them unless
 * they are to be measured.
 */
async function publishWithParity(
  staged: StagedModel,
  { model, output, isMeasured, isLoaded, threads }: Place,
  quantized: QuantizedModel,
  progress: Progress,
  workshop: Workshop,
): Promise<{ counted: Counted | null; unloaded: string[] }> {
  progress({ stage: 'parity', detail: 'every written linear, executed' });
  try {
    // The disk takes the files meanwhile.
    await Promise.all([staged.flush(), workshop.check(staged.path, checksOf(quantized))]);
    const unloaded = isLoaded ? await requireLoadable(staged.path, model, sessionOptions({ threads })) : [];
    // Not in their place, where another conversion may put its own; a report counts for itself.
    const counted = isMeasured ? null : count(model, staged.path);
    const weights = weightsBeside(output);
    const written = staged.publish();
    if (weights && !written.includes(weights)) rmSync(weights);
    return { counted, unloaded };
  } finally {
    staged.discard();
  }
}

/** What a report says without running anything. */
function count(model: string, written: string): Counted {
  const [reference, quantized] = [openModel(model), openModel(written)];
  const [referenceBytes, quantizedBytes] = [reference, quantized].map(storedBytesOf);
  const { rows, expertBitsPerWeight } = takeCensus(prepareModel(reference), quantized);
  const { execution } = readModelRecord(quantized)!;
  return { census: rows, size: { referenceBytes, quantizedBytes, expertBitsPerWeight }, execution };
}

function verifyWritten(
  { model, config }: Conversion,
  output: string,
  records: readonly DataRecord[],
  progress: Progress,
): Promise<Report> {
  return verify(model, output, records, {
    ...verifyOptions(model, config),
    isSourceChecked: true,
    onBatch: recordProgress(progress, 'verify', records.length),
  });
}

function externalDataOf({ output }: QuantizeConfig): { externalData?: boolean } {
  return output.externalData === 'auto' ? {} : { externalData: output.externalData === 'always' };
}
