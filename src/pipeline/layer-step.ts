import type { SettledConfig } from './settle-rotation.ts';
import { rotationName } from './settle-rotation.ts';

/** Name of a step that runs a layer: where it is fed by quantized layers, its result differs with the rotation of these. */
export function layerStep(
  kind: 'calibrate' | 'clip',
  layer: string,
  { calibration, rotation }: SettledConfig,
): string {
  const isPlain = !calibration.sequential || rotation.down === 'none';
  return isPlain ? `${kind}:${layer}` : `${kind}:${layer}:${rotationName(rotation)}`;
}
