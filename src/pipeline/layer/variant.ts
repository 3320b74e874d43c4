import type { QuantizeConfig } from '../../config/schema.ts';

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
