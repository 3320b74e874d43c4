import type { QuantizeConfig } from '../config/schema.ts';
import { needsHessian } from './rounding.ts';

/** True when a recipe is computed from activations. */
export function needsRecords(config: QuantizeConfig): boolean {
  const { smoothing, router } = config;
  return smoothing.enabled || needsHessian(config) || router.realign === true || router.bits !== null;
}

/** True when a recipe is computed from XᵀX. */
export function needsGram(config: QuantizeConfig): boolean {
  return needsHessian(config) || (config.smoothing.enabled && config.smoothing.down === 'error');
}
