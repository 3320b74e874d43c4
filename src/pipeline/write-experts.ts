import type { StatsSource } from '../calibrate/calibrate-by-layer.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import type { ActivationClips } from '../emit/activation-clips.ts';
import type { LayerProbes } from '../emit/parity-probes.ts';
import type { DenseResult } from '../emit/quantize-dense.ts';
import { quantizeDense } from '../emit/quantize-dense.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { annotate } from './annotate.ts';
import type { Calibration, Calibrator } from './calibrator.ts';
import { isSmall } from './model-size.ts';
import type { Progress } from './progress.ts';
import type { SettledConfig } from './settle-rotation.ts';
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
  /** What each written linear must compute; see `parityChecks`. */
  probes: LayerProbes[];
  /** What each layer quantizes in front of its linears; null for a fused operator. */
  rows: WrittenLayer['rows'][];
  /** What became of the linears beside the routed experts; null when they were to be kept. */
  dense: DenseResult | null;
}

/** Everything that decides the result. */
export interface WriteOrder {
  path: string;
  config: SettledConfig;
  resolved: ResolvedTarget;
  calibrator: Calibrator | null;
  /** How the activations of a layer are clipped. */
  clipsOf: (layer: number) => ActivationClips;
  /** Layers that are made already; those that are not join them. Null for a model that is written once. */
  made: MadeLayer[] | null;
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
  const source = order.calibrator?.statsFor(order.config) ?? null;
  try {
    return await writeWith(source, order, progress, workshop);
  } finally {
    source?.close();
  }
}

async function writeWith(
  source: StatsSource | null,
  { path, config, resolved, calibrator, clipsOf, made: known }: WriteOrder,
  progress: Progress,
  workshop: Workshop,
): Promise<WrittenModel> {
  const { model, layers } = prepareModel(path, resolved.opset);
  const original = new Set(model.graph.constants);
  const few = writesFewRows(model, config) ? {} : { fewRowsFrom: Infinity };
  const total = layers.length;
  const smoothing: LayerSmoothing[] = [];
  const stats: Calibration['stats'] = [];
  const written: WrittenLayer[] = [];
  for (const [i, layer] of layers.entries()) {
    const detail = `${layer.id} (${layer.experts.length} experts)`;
    const statsOf = source && !known?.[i] ? await source.statsOf(i, model) : null;
    progress({ stage: 'quantize', detail, done: i, total });
    const made = known?.[i] ?? (await makeLayer(layer, statsOf, config, workshop));
    if (known) known[i] = made;
    smoothing.push(made.smoothing);
    if (made.stats) stats.push(made.stats);
    written.push(writeLayer(model, layer, made, { resolved, clips: clipsOf(i), ...few }));
    workshop.settle([...model.graph.constants].filter((value) => !original.has(value)));
    progress({ stage: 'quantize', detail, done: i + 1, total });
  }
  model.graph.removeDeadCode();
  const dense = quantizeRest(model, layers, config, resolved);
  const calibration = calibrator && { stats, balance: calibrator.balance };
  annotate({ model, layers }, config, resolved, { calibration, dense });
  const [probes, rows] = [written.map((layer) => layer.probes), written.map((layer) => layer.rows)];
  return { model, calibration, smoothing, probes, rows, dense };
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
