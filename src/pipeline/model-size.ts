import type { QuantizeConfig } from '../config/schema.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import { linearsOf } from '../moe/ffn-experts.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Model } from '../onnx/model.ts';
import { weightBytesOf } from '../onnx/model.ts';
import { groupCountOf, storedBits } from '../quantize/grid.ts';

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

/** What the experts of a layer will take, roughly: codes, and one float16 scale per row and group. */
export function resultBytes({ experts }: MoeLayer, { scheme, groupsOf }: ResolvedTarget): number {
  const bits = storedBits(scheme.weight.bits);
  return experts.flatMap(linearsOf).reduce((sum, { weight: { rows, cols } }) => {
    const groups = groupCountOf(cols, groupsOf(cols).groupSize);
    return sum + Math.ceil((rows * cols * bits) / 8) + rows * groups * 2;
  }, 0);
}
