import type { QuantizeConfig } from '../config/schema.ts';
import type { Model } from '../onnx/model.ts';
import { weightBytesOf } from '../onnx/model.ts';

/**
 * Whether a model's weights, up to 1 GB, may be held several times. Not by free memory: the result must not depend on
 * the machine.
 */
export function isSmall(model: Model): boolean {
  return weightBytesOf(model) <= 2 ** 30;
}

/** True for a model that is only run one layer at a time, since it is too large or the setting says so. */
export function isByLayer(model: Model, byLayer: 'auto' | 'always' | 'never'): boolean {
  return byLayer === 'auto' ? !isSmall(model) : byLayer === 'always';
}

/** True where layers are calibrated one at a time: in such a model, or since each is to wait for the one before it. */
export function calibratesByLayer(model: Model, { calibration }: QuantizeConfig): boolean {
  return calibration.sequential || isByLayer(model, calibration.byLayer);
}
