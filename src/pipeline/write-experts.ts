import type { StatsSource } from '../calibrate/calibrate-by-layer.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import type { ActivationClips } from '../emit/activation-clips.ts';
import type { LayerProbes } from '../emit/parity-probes.ts';
import type { DenseResult } from '../emit/quantize-dense.ts';
import { quantizeDense } from '../emit/quantize-dense.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import type { RotationBlocks } from '../emit/rotated-form.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { annotate } from './annotate.ts';
import type { Calibration, Calibrator } from './calibrator.ts';
import { layerStep } from './layer-step.ts';
import { clipLayer } from './clip-layer.ts';
import type { ClippedLayer } from './clips.ts';
import { describeClips } from './clips.ts';
import { isSmall } from './model-size.ts';
import type { Progress } from './progress.ts';
import type { Variant } from './variants.ts';
import { settledBy } from './variants.ts';
import type { LayerSmoothing } from './smooth-layer.ts';
import type { Workshop } from './workshop.ts';
import type { MadeLayer, WrittenLayer } from './write-layer.ts';
import { makeLayer, writeLayer } from './write-layer.ts';

/** A model whose experts are written and whose routers are as they were. */
export interface WrittenModel {
  model: Model;
  /** Null for a data-free conversion. */
  calibration: Calibration | null;
  /** What each layer's inputs were divided by. */
  smoothing: LayerSmoothing[];
  /** Where that went, of each layer; null for none. */
  folding: WrittenLayer['folding'][];
  /** In blocks of how many channels each layer rotates what it reads. */
  rotation: RotationBlocks[];
  /** In which layers tokens counted as much as their routing weight. */
  affinity: boolean[];
  /** What each written linear must compute; see `parityChecks`. */
  probes: LayerProbes[];
  /** What each layer quantizes in front of its linears; nothing where a fused operator does. */
  rows: NonNullable<WrittenLayer['rows']>[];
  /** How activations are clipped, one entry per layer; null where that was not measured. */
  clipped: ClippedLayer[] | null;
  /** What became of the linears beside the routed experts; null when they were to be kept. */
  dense: DenseResult | null;
}

/** Everything that decides the result. */
export interface WriteOrder {
  path: string;
  config: QuantizeConfig;
  /** Of each layer. */
  variants: readonly Variant[];
  resolved: ResolvedTarget;
  calibrator: Calibrator | null;
  /** How the activations of a layer are clipped; null where that is to be measured, by looking at each on its turn. */
  clipsOf: ((layer: number) => ActivationClips) | null;
  /** Layers that are made already; those that are not take their place. Null for a model that is written once. */
  made: (MadeLayer | null)[] | null;
}

/** A layer that is written, and how it came about. */
interface DoneLayer extends WrittenLayer, Pick<MadeLayer, 'stats' | 'smoothing' | 'rotation' | 'affinity'> {
  clipped: ClippedLayer | null;
}

/**
 * Writes the experts of a model anew, layer by layer: each is calibrated, smoothed, rounded, and emitted before the next
 * one's turn.
 * @throws Fault those of the steps
 */
export async function writeExperts(
  order: WriteOrder,
  progress: Progress,
  workshop: Workshop,
): Promise<WrittenModel> {
  const source = order.calibrator?.statsFor(order.variants) ?? null;
  try {
    return await writeWith(source, order, progress, workshop);
  } finally {
    source?.close();
  }
}

async function writeWith(
  source: StatsSource | null,
  order: WriteOrder,
  progress: Progress,
  workshop: Workshop,
): Promise<WrittenModel> {
  const { path, config, variants, resolved, calibrator, clipsOf, made: known } = order;
  const { model, layers } = prepareModel(path, resolved.opset);
  const original = new Set(model.graph.constants);
  const few = writesFewRows(model, config) ? {} : { fewRowsFrom: Infinity };
  const done: DoneLayer[] = [];
  for (const [i, layer] of layers.entries()) {
    const detail = `${layer.id} (${layer.experts.length} experts)`;
    const statsOf = source && !known?.[i] ? await source.statsOf(i, model) : null;
    progress({ stage: 'quantize', detail, done: i, total: layers.length });
    const made = known?.[i] ?? (await makeLayer(layer, statsOf, settledBy(config, variants[i]), workshop));
    if (known) known[i] = made;
    const looking = { path, resolved, written: model };
    const clipped = clipsOf
      ? null
      : await workshop.remember(layerStep('clip', layer.id, variants[i], config.calibration.sequential), () =>
          clipLayer(i, made, looking, source!.look!),
        );
    if (clipped) progress({ stage: 'clip', detail: describeClips(clipped) });
    const clips = clipsOf?.(i) ?? clipped!.clips;
    const { stats, smoothing, rotation, affinity } = made;
    const writing = { resolved, clips, ...few };
    done.push({ stats, smoothing, rotation, affinity, clipped, ...writeLayer(model, layer, made, writing) });
    workshop.settle([...model.graph.constants].filter((value) => !original.has(value)));
    progress({ stage: 'quantize', detail, done: i + 1, total: layers.length });
  }
  model.graph.removeDeadCode();
  const dense = quantizeRest(model, layers, config, resolved);
  const each = <K extends keyof DoneLayer>(key: K): NonNullable<DoneLayer[K]>[] =>
    done.map((layer) => layer[key]).filter((value) => value !== null);
  const calibration = calibrator && { stats: each('stats'), balance: calibrator.balance };
  const clipped = clipsOf ? null : each('clipped');
  const written = {
    model,
    calibration,
    smoothing: each('smoothing'),
    folding: done.map(({ folding }) => folding),
    rotation: each('rotation'),
    affinity: each('affinity'),
    probes: each('probes'),
    rows: each('rows'),
    clipped,
    dense,
  };
  annotate({ model, layers }, config, resolved, written);
  return written;
}

function writesFewRows(model: Model, { output: { fewTokens } }: QuantizeConfig): boolean {
  return fewTokens === 'auto' ? isSmall(model) : fewTokens;
}

/** Attention, shared experts and head, by the scheme of their own. */
function quantizeRest(
  model: Model,
  layers: readonly MoeLayer[],
  { dense: { scheme } }: QuantizeConfig,
  { target }: ResolvedTarget,
): DenseResult | null {
  if (scheme === 'keep') return null;
  const result = quantizeDense(model, layers, scheme, target === 'qdq');
  model.graph.removeDeadCode();
  return result;
}
