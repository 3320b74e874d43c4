import type { StatsSource } from '../calibrate/calibrate-by-layer.ts';
import type { LayerStats } from '../calibrate/layer-stats.ts';
import { withoutGram } from '../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import { emitLayer } from '../emit/emit-layer.ts';
import { emitterFor } from '../emit/emitter-for.ts';
import { foldSmoothing } from '../emit/fold-smoothing.ts';
import type { LayerProbes } from '../emit/parity-probes.ts';
import { collectProbes } from '../emit/parity-probes.ts';
import type { DenseResult } from '../emit/quantize-dense.ts';
import { quantizeDense } from '../emit/quantize-dense.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { annotate } from './annotate.ts';
import type { Calibration, Calibrator } from './calibrator.ts';
import { isSmall } from './model-size.ts';
import { orderLayer } from './order-layer.ts';
import type { Progress } from './progress.ts';
import type { SettledConfig } from './settle-rotation.ts';
import type { LayerSmoothing } from './smooth-layer.ts';
import type { Workshop } from './workshop.ts';

/** A model whose experts are written and whose routers are as they were. */
export interface WrittenModel {
  model: Model;
  /** Null for a data-free conversion. */
  calibration: Calibration | null;
  /** What each layer's inputs were divided by. */
  smoothing: LayerSmoothing[];
  /** What each written linear must compute; see `parityChecks`. */
  probes: LayerProbes[];
  /** What became of the linears beside the routed experts; null when they were to be kept. */
  dense: DenseResult | null;
}

/** Everything that decides the result. */
export interface WriteOrder {
  path: string;
  config: SettledConfig;
  resolved: ResolvedTarget;
  calibrator: Calibrator | null;
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
  { path, config, resolved, calibrator }: WriteOrder,
  progress: Progress,
  workshop: Workshop,
): Promise<WrittenModel> {
  const { model, layers } = prepareModel(path, resolved.opset);
  const original = new Set(model.graph.constants);
  const seen: LayerStats[] = [];
  const fewRows = writesFewRows(model, config) ? {} : { fewRowsFrom: Infinity };
  const smoothing: LayerSmoothing[] = [];
  const probes: LayerProbes[] = [];
  for (const [i, layer] of layers.entries()) {
    const detail = `${layer.id} (${layer.experts.length} experts)`;
    const tell = (done: number): void => progress({ stage: 'quantize', detail, done, total: layers.length });
    const stats = source && (await source.statsOf(i, model));
    if (stats) seen.push(withoutGram(stats));
    tell(i);
    const order = orderLayer(layer, stats, config);
    const { rotation } = order.recipe;
    smoothing.push(order.smoothing);
    const expertOf = await workshop.quantizeExperts(order);
    if (smoothing[i].input) foldSmoothing(model, layer, smoothing[i].input);
    const { weightsOf, probes: noted } = collectProbes({ layer, resolved, rotation }, expertOf);
    emitLayer(model, layer, emitterFor(resolved, { layer, weightsOf, rotation, ...fewRows }));
    probes.push(noted);
    workshop.settle([...model.graph.constants].filter((value) => !original.has(value)));
    tell(i + 1);
  }
  model.graph.removeDeadCode();
  const dense = quantizeRest(model, layers, config, resolved);
  const calibration = calibrator && { stats: seen, balance: calibrator.balance };
  annotate({ model, layers }, config, resolved, { calibration, dense });
  return { model, calibration, smoothing, probes, dense };
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
