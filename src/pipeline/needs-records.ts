import type { QuantizeConfig } from '../config/schema.ts';
import { Fault } from '../fault.ts';
import { schemeOf } from '../quantize/scheme.ts';
import { needsHessian } from './layer/rounding.ts';

/** True when a recipe is computed from activations. */
export function needsRecords(config: QuantizeConfig): boolean {
  const { smoothing, router } = config;
  return smoothing.enabled || needsHessian(config) || router.realign === true || router.bits !== null;
}

/** @throws Fault DATA_REQUIRED when a recipe is computed from activations and there are no records */
export function requireRecords(config: QuantizeConfig, hasRecords: boolean): void {
  if (hasRecords || !needsRecords(config)) return;
  const rounding = schemeOf(config.scheme).weight.ternary
    ? '--set ternary.fit=exact --set ternary.compensate=false'
    : '--set rounding.method=rtn';
  throw new Fault({
    code: 'DATA_REQUIRED',
    what: 'this recipe needs calibration records',
    why: 'smoothing, GPTQ and what is done to routers are computed from the activations of a calibration run',
    remedy: `give --data, or --set smoothing.enabled=false ${rounding} for a data-free conversion`,
  });
}

/** True when gates are asked for, which take a report. */
export function hasGates({ gates: { min, max } }: QuantizeConfig): boolean {
  return Object.keys({ ...min, ...max }).length > 0;
}

/** @throws Fault DATA_REQUIRED when no records are named that a report could be measured on */
export function requireMeasurable({ data, verify }: QuantizeConfig): void {
  if ((verify.data ?? data) !== null) return;
  throw new Fault({
    code: 'DATA_REQUIRED',
    what: 'a report needs records to measure on',
    remedy: 'give --data, or --set verify.data=FILE',
  });
}

/** True when a recipe is computed from XᵀX. */
export function needsGram(config: QuantizeConfig): boolean {
  return needsHessian(config) || (config.smoothing.enabled && config.smoothing.down === 'error');
}
