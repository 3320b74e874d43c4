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
import { openModel } from '../onnx/open-model.ts';
import { chooseRecords } from './choose-records.ts';
import type { Progress } from './progress.ts';
import { needsHessian } from './rounding.ts';

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
  return config.smoothing.enabled || needsHessian(config);
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
  if (!data) throw dataRequired();
  const session = config.threads === 'auto' ? {} : { threads: config.threads };
  checkVocabulary([...data.records, ...data.pool], vocabularySize(openModel(path)));
  const { records, balance } = await chooseRecords(
    path,
    data.records,
    data.pool,
    config.calibration,
    session,
  );
  progress({ stage: 'calibrate', detail: `${records.length} records` });
  const { model, layers } = prepareModel(path);
  const batches = makeBatches(records, declaredInputs(model));
  return {
    stats: await calibrate(model, layers, batches, { gram: needsHessian(config), ...session }),
    balance,
  };
}

function dataRequired(): Fault {
  return new Fault({
    code: 'DATA_REQUIRED',
    what: 'this recipe needs calibration records',
    why: 'smoothing and GPTQ are computed from the activations of a calibration run',
    remedy:
      'give --data, or --set smoothing.enabled=false --set rounding.method=rtn for a data-free conversion',
  });
}
