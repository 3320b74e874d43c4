import type { Balance } from '../calibrate/balance-records.ts';
import { calibrate } from '../calibrate/calibrate.ts';
import type { LayerStats } from '../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { DataRecord } from '../data/record.ts';
import { checkVocabulary } from '../data/vocabulary.ts';
import { vocabularySize } from '../data/vocabulary-size.ts';
import { Fault } from '../fault.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { weightBytesOf } from '../onnx/model.ts';
import { schemeOf } from '../quantize/scheme.ts';
import { chooseRecords } from './choose-records.ts';
import type { Progress } from './progress.ts';
import { needsHessian } from './rounding.ts';
import { sessionOptions } from './session-options.ts';

/** Records to calibrate on, and more to top up starving experts from. */
export interface CalibrationData {
  records: readonly DataRecord[];
  pool: readonly DataRecord[];
}

export interface Calibration {
  /** One entry per layer. */
  stats: LayerStats[];
  balance: Balance | null;
}

/** True when a recipe is computed from activations. */
export function needsRecords(config: QuantizeConfig): boolean {
  const { smoothing, router } = config;
  return smoothing.enabled || needsHessian(config) || router.realign === true || router.bits !== null;
}

/**
 * Chooses calibration records and collects the statistics a recipe needs; null for a recipe that needs none.
 * @throws Fault DATA_REQUIRED when records are needed and there are none
 */
export async function calibrateModel(
  path: string,
  data: CalibrationData | null,
  config: QuantizeConfig,
  progress: Progress,
): Promise<Calibration | null> {
  if (!needsRecords(config)) return null;
  if (!data) throw dataRequired(config);
  const { model } = prepareModel(path);
  checkVocabulary([...data.records, ...data.pool], vocabularySize(model));
  const running = {
    ...sessionOptions(config),
    byLayer: isByLayer(model, config),
  };
  const { records, balance } = await chooseRecords(
    path,
    data.records,
    data.pool,
    config.calibration,
    running,
  );
  const detail = `${records.length} records`;
  progress({ stage: 'calibrate', detail });
  const onStep = (done: number, total: number): void => progress({ stage: 'calibrate', detail, done, total });
  const batches = [...makeBatches(records, declaredInputs(model))];
  const { affinity } = config.calibration;
  const options = { gram: needsGram(config), affinity, onStep, ...running };
  return { stats: await calibrate(() => prepareModel(path), batches, options), balance };
}

/** True when a recipe is computed from XᵀX. */
function needsGram(config: QuantizeConfig): boolean {
  return needsHessian(config) || (config.smoothing.enabled && config.smoothing.down === 'error');
}

/** Whether a model's weights, up to 1 GB, may be held several times. Not by free memory: the result must not depend on the machine. */
export function isSmall(model: Model): boolean {
  return weightBytesOf(model) <= 2 ** 30;
}

/** True for a model that is run one layer at a time, since it is too large or the config says so. */
export function isByLayer(model: Model, { calibration: { byLayer } }: QuantizeConfig): boolean {
  return byLayer === 'auto' ? !isSmall(model) : byLayer === 'always';
}

function dataRequired({ scheme }: QuantizeConfig): Fault {
  const rounding = schemeOf(scheme).weight.ternary
    ? '--set ternary.fit=exact --set ternary.compensate=false'
    : '--set rounding.method=rtn';
  return new Fault({
    code: 'DATA_REQUIRED',
    what: 'this recipe needs calibration records',
    why: 'smoothing, GPTQ and what is done to routers are computed from the activations of a calibration run',
    remedy: `give --data, or --set smoothing.enabled=false ${rounding} for a data-free conversion`,
  });
}
