import type { Variant } from './variants.ts';
import { variantName } from './variants.ts';

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
