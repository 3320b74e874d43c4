import type { QuantizeConfig } from '../../config/schema.ts';
import { resolveTarget } from '../../emit/resolve-target.ts';
import { hasCoarseActivations } from '../../quantize/scheme.ts';
import { needsHessian } from '../layer/rounding.ts';
import type { Variant } from '../layer/variant.ts';

/**
 * The variants a conversion writes: more than one if it is to choose by the records it has. Without records nothing is
 * tried: there is no rotation then, and no token counts more than another. Nor is it where neither would change much: a
 * rotation where activations keep 8 bits or more, the weights of tokens where those of experts do.
 */
export function variantsTried(config: QuantizeConfig, hasRecords: boolean): Variant[] {
  const { target, scheme } = resolveTarget(config);
  const canTry = hasRecords && target !== 'qmoe';
  const { rotation, calibration } = config;
  const rotates = canTry && hasCoarseActivations(scheme);
  const downs = rotation.down !== 'auto' ? [rotation.down] : rotates ? rotationsTried : [rotationsTried[0]];
  const variants = downs.map((down): Variant => ({ down, affinity: calibration.affinity === true }));
  const weighs = calibration.affinity === 'auto' && canTry && needsHessian(config) && scheme.weight.bits < 8;
  return weighs ? [...variants, { ...variants.at(-1)!, affinity: true }] : variants;
}

const rotationsTried = ['none', 'hadamard'] as const;
