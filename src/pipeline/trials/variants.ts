import type { QuantizeConfig } from '../../config/schema.ts';
import { resolveTarget } from '../../emit/resolve-target.ts';
import { hasCoarseActivations } from '../../quantize/scheme.ts';
import { needsHessian } from '../layer/rounding.ts';

type Rotation = QuantizeConfig['rotation'];
export type SettledRotation = Rotation & { down: Exclude<Rotation['down'], 'auto'> };

/** What trials settle about a layer, where a config leaves it open. */
export interface Variant {
  rotation: SettledRotation;
  /** Whether tokens count as much as their routing weight. */
  affinity: boolean;
}

/** A config that leaves nothing open that decides how a layer is made. */
export type SettledConfig = QuantizeConfig & {
  rotation: SettledRotation;
  calibration: { affinity: boolean };
};

export function settledBy(config: QuantizeConfig, { rotation, affinity }: Variant): SettledConfig {
  return { ...config, rotation, calibration: { ...config.calibration, affinity } };
}

/** The variant a config was settled by. */
export function variantOf({ rotation, calibration: { affinity } }: SettledConfig): Variant {
  return { rotation, affinity };
}

/** Blocks that are tried: of few channels, which keep a lonely peak what it is, and of as many as there are. */
const blocksTried = [4, 16, 'auto'] as const;

/**
 * The variants a conversion writes: more than one if it is to choose by the records it has. Without records nothing is
 * tried: there is no rotation then, and no token counts more than another. Nor is it where neither would change much: a
 * rotation where activations keep 8 bits or more, the weights of tokens where those of experts do.
 */
export function variantsTried(config: QuantizeConfig, hasRecords: boolean): Variant[] {
  const { target, scheme } = resolveTarget(config.target, config.scheme, config.group);
  const canTry = hasRecords && target !== 'qmoe';
  const { affinity } = config.calibration;
  const variants = rotationsTried(config, canTry && hasCoarseActivations(scheme)).map(
    (rotation): Variant => ({
      rotation,
      affinity: affinity === true,
    }),
  );
  const weighs = affinity === 'auto' && canTry && needsHessian(config) && scheme.weight.bits < 8;
  return weighs ? [...variants, { ...variants.at(-1)!, affinity: true }] : variants;
}

function rotationsTried({ rotation }: QuantizeConfig, triesBlocks: boolean): SettledRotation[] {
  const { down, block, ...rest } = rotation;
  if (down !== 'auto') return [{ ...rest, block, down }];
  const blocks = triesBlocks ? (block === 'auto' ? blocksTried : [block]) : [];
  const rotated = blocks.map((each) => ({ ...rest, block: each, down: 'hadamard' as const }));
  return [{ ...rest, block, down: 'none' }, ...rotated];
}

/** What tells variants from each other: `none`, `hadamard`, `hadamard of 16`, `hadamard, affinity`. */
export function variantName({ rotation: { down, block }, affinity }: Variant): string {
  const rotation = down === 'none' || block === 'auto' ? down : `${down} of ${block}`;
  return affinity ? `${rotation}, affinity` : rotation;
}

/**
 * Name of a step that runs a layer. Its result differs with the weights of the tokens; where it is fed by quantized layers,
 * with all that these were made by.
 */
export function layerStep(
  kind: 'calibrate' | 'clip',
  layer: string,
  variant: Variant,
  isSequential: boolean,
): string {
  const name = isSequential ? variantName(variant) : variant.affinity ? 'affinity' : 'none';
  return name === 'none' ? `${kind}:${layer}` : `${kind}:${layer}:${name}`;
}
