import type { LayerStats } from '../../calibrate/layer-stats.ts';
import { withoutGram } from '../../calibrate/layer-stats.ts';
import { emitLayer } from '../../emit/emit-layer.ts';
import { emitterFor } from '../../emit/emitter-for.ts';
import type { Folding } from '../../emit/fold-smoothing.ts';
import { foldSmoothing } from '../../emit/fold-smoothing.ts';
import type { RotationBlocks } from '../../emit/forms/rotated-form.ts';
import type { LayerReference } from '../../emit/parity-references.ts';
import { collectReferences } from '../../emit/parity-references.ts';
import type { ResolvedTarget } from '../../emit/resolve-target.ts';
import { weightCount } from '../../moe/ffn-experts.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { Model } from '../../onnx/model.ts';
import type { ExpertOf, Workshop } from '../workshop.ts';
import { orderLayer } from './order-layer.ts';
import type { LayerSmoothing } from './smooth-layer.ts';
import type { SettledConfig } from './variant.ts';

/** A layer that is ready to be written. */
export interface MadeLayer {
  /** Without XᵀX; null for a data-free conversion. */
  stats: LayerStats | null;
  smoothing: LayerSmoothing;
  rotation: RotationBlocks;
  /** Whether its tokens counted as much as their routing weight. */
  affinity: boolean;
  expertOf: ExpertOf;
}

/** Smooths and rounds the experts of a layer. */
export async function makeLayer(
  layer: MoeLayer,
  stats: LayerStats | null,
  config: SettledConfig,
  workshop: Workshop,
): Promise<MadeLayer> {
  const order = orderLayer(layer, stats, config);
  const { smoothing, recipe } = order;
  const expertOf = await workshop.quantizeExperts(order);
  const { affinity } = config.calibration;
  return { stats: stats && withoutGram(stats), smoothing, rotation: recipe.rotation, affinity, expertOf };
}

export interface WriteSettings {
  resolved: ResolvedTarget;
  /** Moves what was written so far out of memory, see `Workshop`. */
  settle: () => void;
  /** See `FormOptions`. */
  fewRowsAbove?: number;
}

export interface WrittenLayer {
  /** How the weights of each expert were rounded. */
  methods: string[];
  /** Where the smoothing of the input went; null for none. */
  folding: Folding | null;
  /** What each written linear must compute; see `parityChecks`. */
  reference: LayerReference;
}

/** Weights of experts that are written before they are settled. */
const settledAfter = 2 ** 26;

/** Writes a layer in the form of a target. */
export function writeLayer(
  model: Model,
  layer: MoeLayer,
  { smoothing, rotation, expertOf }: MadeLayer,
  { resolved, settle, ...few }: WriteSettings,
): WrittenLayer {
  const folding = smoothing.input && foldSmoothing(model, layer, smoothing.input);
  const form = { layer, resolved, rotation };
  const methods: string[] = [];
  let unsettled = 0;
  const { reference, ...collected } = collectReferences(form, (expert) => {
    if (unsettled >= settledAfter) {
      settle();
      unsettled = 0;
    }
    unsettled += weightCount(expert);
    const made = expertOf(expert);
    methods.push(made.weights.up.weight.method);
    return made;
  });
  emitLayer(model, layer, emitterFor(resolved, { ...form, ...collected, ...few }));
  settle();
  return { methods, folding, reference };
}
