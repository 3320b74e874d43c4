import type { QuantizeConfig } from '../config/schema.ts';
import type { Model } from '../onnx/model.ts';
import { weightBytesOf } from '../onnx/model.ts';

/** Whether a model's weights, up to 1 GB, may be held several times. Not by free memory: the result must not depend on the machine. */
export function isSmall(model: Model): boolean {
  return weightBytesOf(model) <= 2 ** 30;
}

/** True for a model that is run one layer at a time, since it is too large or the config says so. */
export function isByLayer(model: Model, { calibration: { byLayer } }: QuantizeConfig): boolean {
  return byLayer === 'auto' ? !isSmall(model) : byLayer === 'always';
}
