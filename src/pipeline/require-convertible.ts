import type { QuantizeConfig } from '../config/schema.ts';
import { checkRecords } from '../data/layout.ts';
import { declaredInputs } from '../data/model-input.ts';
import type { DataRecord } from '../data/record.ts';
import { firstRecords, tasksOf } from '../data/record.ts';
import { checkVocabulary, vocabularySize } from '../data/vocabulary.ts';
import { requireEmittable } from '../emit/emitter-for.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import { Fault } from '../fault.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { requireKnownTasks } from '../report/gates/gate-keys.ts';
import type { CalibrationData } from './balance-data.ts';
import { rotationOf } from './layer/order-layer.ts';
import { settledBy } from './layer/variant.ts';
import { needsRecords } from './needs-records.ts';
import type { ConversionRecords } from './open-conversion.ts';
import { requireRouters } from './routers/settle-routers.ts';
import { variantsTried } from './trials/variants-tried.ts';

/**
 * Refuses what could not be done, as far as the graph, the config and the records tell: asked by dry runs and plans, and
 * by the work itself before it begins.
 * @throws Fault SCHEME_TARGET, GROUP_TARGET, GATE_UNKNOWN, and those of `requireRouters`, `checkVocabulary` and `checkRecords`
 */
export function requireConvertible(
  config: QuantizeConfig,
  prepared: PreparedModel,
  { data, measuredOn }: ConversionRecords,
): void {
  refuseShift(config);
  requireWritable(config, prepared, data !== null);
  if (data) requireRouters(config, prepared.layers, firstRecords(data.records, config.calibration.records));
  if (measuredOn) requireKnownTasks(config.gates, tasksOf(measuredOn));
  requireFed(prepared, [...(data ? recordsRun(data, config) : []), ...(measuredOn ?? [])]);
}

/** Refuses a shift where the target has no place for one. */
function refuseShift({ smoothing, target }: QuantizeConfig): void {
  if (target !== 'qmoe' || smoothing.shift !== true) return;
  throw new Fault({
    code: 'SCHEME_TARGET',
    what: 'target qmoe cannot be written with a shift',
    why: 'the fused operator gives every expert the same input',
    remedy: 'use --set smoothing.shift=false, or another target',
  });
}

function requireWritable(config: QuantizeConfig, { layers }: PreparedModel, hasRecords: boolean): void {
  const resolved = resolveTarget(config);
  // Where there are several, the others are of targets that take any.
  const settled = settledBy(config, variantsTried(config, hasRecords)[0]);
  for (const layer of layers) requireEmittable(resolved, layer, rotationOf(layer, settled));
}

/** The records that the model is run on before it is written. */
function recordsRun({ records, pool }: CalibrationData, config: QuantizeConfig): readonly DataRecord[] {
  const { records: limit, balance } = config.calibration;
  const isChosen = balance.enabled && needsRecords(config);
  return isChosen ? [...records, ...pool] : firstRecords(records, limit);
}

function requireFed({ model }: PreparedModel, records: readonly DataRecord[]): void {
  if (records.length === 0) return;
  checkVocabulary(records, vocabularySize(model));
  checkRecords(records, declaredInputs(model));
}
