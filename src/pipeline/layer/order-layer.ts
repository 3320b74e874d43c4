import type { LayerStats } from '../../calibrate/layer-stats.ts';
import type { RotationBlocks } from '../../emit/forms/rotated-form.ts';
import { resolveTarget } from '../../emit/resolve-target.ts';
import { ffnExperts } from '../../moe/ffn-experts.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import { hadamardBlock } from '../../quantize/hadamard.ts';
import type { ExpertOrder, Recipe } from './quantize-expert.ts';
import type { LayerSmoothing } from './smooth-layer.ts';
import { noSmoothing, smoothLayer } from './smooth-layer.ts';
import type { SettledConfig } from './variant.ts';

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
  const rotation = rotationOf(layer, config);
  const experts = ffnExperts(layer).map(({ id }): ExpertOrder => {
    const seen = stats?.experts.find((expert) => expert.id === id && expert.tokens > 0) ?? null;
    const { input: scales, shifts } = smoothing;
    return { id, stats: seen, input: { scales, shift: shifts.get(id) ?? null } };
  });
  return { layer, smoothing, experts, recipe: { config, rotation } };
}

/**
 * Where a config rotates a layer, and in blocks of how many channels: by default of those that share a grid, for what a
 * rotation is to even out is what they have to share.
 */
export function rotationOf({ hidden, intermediate }: MoeLayer, config: SettledConfig): RotationBlocks {
  const { input, down, block } = config.rotation;
  const limit = block === 'auto' ? (resolveTarget(config).block ?? 128) : block;
  const blockOf = (kind: 'none' | 'hadamard', width: number): number | null => {
    const size = hadamardBlock(width, limit);
    return kind === 'none' || size === 1 ? null : size;
  };
  return { input: blockOf(input, hidden), hidden: blockOf(down, intermediate) };
}
