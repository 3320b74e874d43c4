import type { QuantizedRows } from '../../calibrate/activation-probe.ts';
import type { LayerStats } from '../../calibrate/layer-stats.ts';
import { withoutGram } from '../../calibrate/layer-stats.ts';
import { emitLayer } from '../../emit/emit-layer.ts';
import { emitterFor } from '../../emit/emitter-for.ts';
import type { Folding } from '../../emit/fold-smoothing.ts';
import { foldSmoothing } from '../../emit/fold-smoothing.ts';
import type { ActivationClips } from '../../emit/forms/activation-clips.ts';
import type { RotationBlocks } from '../../emit/forms/rotated-form.ts';
import type { Part } from '../../emit/grouped-ffn.ts';
import type { LayerReference } from '../../emit/parity-references.ts';
import { collectReferences } from '../../emit/parity-references.ts';
import type { ResolvedTarget } from '../../emit/resolve-target.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { Model } from '../../onnx/model.ts';
import type { Value } from '../../onnx/value.ts';
import type { SettledConfig } from '../trials/variants.ts';
import type { ExpertOf, Workshop } from '../workshop.ts';
import { orderLayer } from './order-layer.ts';
import type { LayerSmoothing } from './smooth-layer.ts';

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
  clips: ActivationClips;
  /** See `EmitterOptions`. */
  fewRowsFrom?: number;
}

export interface WrittenLayer {
  /** How the weights of each expert were rounded. */
  methods: string[];
  /** Where the smoothing of the input went; null for none. */
  folding: Folding | null;
  /** What each written linear must compute; see `parityChecks`. */
  reference: LayerReference;
  /** What is quantized in front of the linears; null for a fused operator. */
  rows: Record<Part, QuantizedRows> | null;
}

/** Writes a layer in the form of a target. */
export function writeLayer(
  model: Model,
  layer: MoeLayer,
  { smoothing, rotation, expertOf }: MadeLayer,
  { resolved, clips, ...few }: WriteSettings,
): WrittenLayer {
  const folding = smoothing.input && foldSmoothing(model, layer, smoothing.input);
  const form = { layer, resolved, rotation, clips };
  const methods: string[] = [];
  const { weightsOf, reference } = collectReferences(form, (expert) => {
    const made = expertOf(expert);
    methods.push(made.weights.up.weight.method);
    return made;
  });
  const seen: Partial<Record<Part, Value>> = {};
  const watch = (part: Part, x: Value): void => void (seen[part] = x);
  const pairs = emitLayer(model, layer, emitterFor(resolved, { ...form, weightsOf, watch, ...few }));
  if (!pairs) return { methods, folding, reference, rows: null };
  const { tokens, dispatch } = pairs;
  // Experts that are shifted apart read rows of their own.
  const isShared = smoothing.shifts.size === 0;
  return {
    methods,
    folding,
    reference,
    rows: {
      input: { rows: seen.input!, tokens, places: isShared ? null : dispatch.tokens },
      hidden: { rows: seen.hidden!, tokens, places: dispatch.tokens },
    },
  };
}
