import type { QuantizeConfig } from '../../config/schema.ts';
import { resolveTarget } from '../../emit/resolve-target.ts';
import { hasCoarseActivations } from '../../quantize/scheme.ts';
import { needsHessian } from '../layer/rounding.ts';

type Rotation = QuantizeConfig['rotation'];

/** What trials settle about a layer, where a config leaves it open. */
export interface Variant {
  /** The rotation before down. */
  down: Exclude<Rotation['down'], 'auto'>;
  /** Whether tokens count as much as their routing weight. */
  affinity: boolean;
}

/** A config that leaves nothing open that decides how a layer is made. */
export type SettledConfig = QuantizeConfig & {
  rotation: Rotation & Pick<Variant, 'down'>;
  calibration: Pick<Variant, 'affinity'>;
};

export function settledBy(config: QuantizeConfig, { down, affinity }: Variant): SettledConfig {
  const { rotation, calibration } = config;
  return { ...config, rotation: { ...rotation, down }, calibration: { ...calibration, affinity } };
}

/** The variant a config was settled by. */
export function variantOf({ rotation: { down }, calibration: { affinity } }: SettledConfig): Variant {
  return { down, affinity };
}

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

/** What tells variants from each other: `none`, `hadamard`, `hadamard, affinity`. */
export function variantName({ down, affinity }: Variant): string {
  return affinity ? `${down}, affinity` : down;
}

/**
 * Name of a step that runs a layer. Its result differs with the weights of the tokens; where it is fed by quantized layers,
 * with all that these were made by.
 */
export function layerStep(layer: string, variant: Variant, isSequential: boolean): string {
  const name = isSequential ? variantName(variant) : variant.affinity ? 'affinity' : 'none';
  return name === 'none' ? `calibrate:${layer}` : `calibrate:${layer}:${name}`;
}
