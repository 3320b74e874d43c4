import type { LayerStats } from '../calibrate/layer-stats.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { zigzagPermutation } from '../quantize/zigzag.ts';
import type { ExpertOrder, Recipe } from './quantize-expert.ts';
import { rotationOf } from './rotation.ts';
import type { SettledConfig } from './settle-rotation.ts';
import type { LayerSmoothing } from './smooth-layer.ts';
import { noSmoothing, smoothLayer } from './smooth-layer.ts';

/** What a layer's experts are to be made from. */
export interface LayerOrder {
  layer: MoeLayer;
  smoothing: LayerSmoothing;
  experts: ExpertOrder[];
  recipe: Recipe & { config: SettledConfig };
}

/** Settles how the experts of a layer are quantized, from its statistics; null where nothing was calibrated. */
export function orderLayer(layer: MoeLayer, stats: LayerStats | null, config: SettledConfig): LayerOrder {
  const smoothing = stats ? smoothLayer(layer, stats, config) : noSmoothing;
  const rotation = rotationOf(layer, config.rotation);
  const permutes = config.rotation.permute === 'zigzag';
  const experts = layer.experts
    .filter(({ kind }) => kind === 'ffn')
    .map(({ id }): ExpertOrder => {
      const seen = stats?.experts.find((expert) => expert.id === id && expert.tokens > 0) ?? null;
      const hidden = smoothing.hidden.get(id) ?? null;
      const { input, shifts } = smoothing;
      return {
        id,
        stats: seen,
        smoothing: { input, hidden, shift: shifts.get(id) ?? null },
        neurons: permutes && seen ? neuronOrder(seen.hidden.absMax, hidden, rotation.hidden) : null,
      };
    });
  return { layer, smoothing, experts, recipe: { config, rotation } };
}

/** Deals an expert's neurons to the blocks of a rotation by the outliers that smoothing leaves; null for one block. */
function neuronOrder(
  absMax: Float32Array,
  scales: Float32Array | null,
  block: number | null,
): Uint32Array | null {
  if (block === null || block === absMax.length) return null;
  return zigzagPermutation(scales ? absMax.map((value, j) => value / scales[j]) : absMax, block);
}
