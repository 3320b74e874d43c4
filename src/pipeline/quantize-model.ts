import type { QuantizeConfig } from '../config/schema.ts';
import type { DataRecord } from '../data/record.ts';
import { firstRecords } from '../data/record.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { checkSourceForm } from '../verify/check-source-form.ts';
import { annotate } from './annotate.ts';
import type { CalibrationData } from './balance-data.ts';
import { unbalanced } from './balance-data.ts';
import { openCalibrator } from './calibrator.ts';
import { deviations } from './deviations.ts';
import type { Variant } from './layer/variant.ts';
import { variantName } from './layer/variant.ts';
import { leftOutNotes } from './left-out-notes.ts';
import { requireRecords } from './needs-records.ts';
import type { Progress } from './progress.ts';
import { requireConvertible } from './require-convertible.ts';
import type { RouterOutcome } from './routers/settle-routers.ts';
import { settleRouters, whyNotRealigned } from './routers/settle-routers.ts';
import { sessionOptions } from './run-options.ts';
import { boundedConfig } from './trials/bounded-config.ts';
import { openDrafts } from './trials/drafts.ts';
import { openGauge } from './trials/gauge.ts';
import { settleVariants } from './trials/settle-variants.ts';
import { variantsTried } from './trials/variants-tried.ts';
import type { Workshop } from './workshop.ts';
import { plainWorkshop } from './workshop.ts';
import type { WriteOrder, WrittenModel } from './write-experts.ts';

/** A quantized model in memory. */
export interface QuantizedModel extends WrittenModel {
  /** What became of the routers. */
  routers: RouterOutcome;
  /** What was done otherwise than the config asks, and why. */
  notes: string[];
}

/**
 * Quantizes the experts of a model: calibrate, settle what the config leaves open, smooth, round, write anew. The
 * result is ready to be saved.
 * @throws Fault LAYER_MISREAD, those of `requireConvertible`, and those of the steps
 */
export async function quantizeModel(
  path: string,
  data: CalibrationData | null,
  config: QuantizeConfig,
  progress: Progress = () => {},
  workshop: Workshop = plainWorkshop,
): Promise<QuantizedModel> {
  const { opset } = resolveTarget(config);
  requireRecords(config, data !== null);
  const prepared = prepareModel(path, opset);
  requireConvertible(config, prepared, { data, measuredOn: null });
  return quantizePrepared(prepared, data, config, progress, workshop);
}

/** The same for a conversion that `requireConvertible` has nothing against. @throws Fault those of the steps */
export async function quantizePrepared(
  prepared: PreparedModel,
  data: CalibrationData | null,
  given: QuantizeConfig,
  progress: Progress,
  workshop: Workshop,
): Promise<QuantizedModel> {
  const { path } = prepared.model;
  const records = firstRecords(data?.records ?? [], given.calibration.records);
  const hasRecords = records.length > 0;
  const { config, notes } = boundedConfig(prepared.model, given, hasRecords);
  const resolved = resolveTarget(config);
  // Asked of the routers as they are: what is written may have them in another form.
  const unrealigned = whyNotRealigned(config, prepared.layers, records.length);
  progress({ stage: 'read', detail: 'every layer, beside what it is in the file' });
  const uncompared = await checkSourceForm(prepareModel(path), records);
  const calibrator = await openCalibrator(path, data, config, progress, workshop);
  const starving = data ? unbalanced(data, calibrator?.balance ?? null, config.calibration) : [];
  const common = { path, config, resolved, calibrator };
  const layers = prepared.layers.map(({ id }) => id);
  const written = await writeSettled(common, { layers, records }, { progress, workshop });
  const routers = await settleRouters(path, written, records, config, { progress, workshop });
  annotate(written, config, resolved);
  return {
    ...written,
    routers,
    notes: [
      ...leftOutNotes(prepared),
      ...uncompared,
      ...notes,
      ...starving,
      ...deviations(written, config, unrealigned),
    ],
  };
}

/** Writes a model in the variants that trials on records choose. */
async function writeSettled(
  common: Omit<WriteOrder, 'variants' | 'layerOf'>,
  { layers, records }: { layers: readonly string[]; records: readonly DataRecord[] },
  tools: { progress: Progress; workshop: Workshop },
): Promise<WrittenModel> {
  const { path, config } = common;
  const hasRecords = records.length > 0;
  const isWrittenOnce = variantsTried(config, hasRecords).length === 1;
  const gauge = openGauge(path, records, sessionOptions(config));
  try {
    const drafts = openDrafts(common, gauge, isWrittenOnce, tools);
    const variants = await tools.workshop.remember('variants', () =>
      settleVariants(config, { layers, hasRecords }, drafts, tools.progress),
    );
    if (!isWrittenOnce) tools.progress({ stage: 'try', detail: `taken: ${namesOf(variants, layers)}` });
    return await drafts.write(variants);
  } finally {
    await gauge.close();
  }
}

function namesOf(variants: readonly Variant[], layers: readonly string[]): string {
  const names = variants.map(variantName);
  return new Set(names).size === 1 ? names[0] : names.map((name, i) => `${layers[i]} ${name}`).join('; ');
}
