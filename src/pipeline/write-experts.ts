import type { Balance } from '../calibrate/balance-records.ts';
import type { StatsSource } from '../calibrate/calibrate-by-layer.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import type { DenseResult } from '../emit/linears/quantize-dense.ts';
import { quantizeDense } from '../emit/linears/quantize-dense.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import type { ParityCheck } from '../verify/parity-checks.ts';
import { parityChecks } from '../verify/parity-checks.ts';
import { annotate } from './annotate.ts';
import type { Calibrator } from './calibrator.ts';
import type { Variant } from './layer/variant.ts';
import { settledBy } from './layer/variant.ts';
import type { MadeLayer, WriteSettings, WrittenLayer } from './layer/write-layer.ts';
import { makeLayer, writeLayer } from './layer/write-layer.ts';
import { isSmall } from './model-size.ts';
import type { Progress } from './progress.ts';
import type { Workshop } from './workshop.ts';

/** A model whose experts are written and whose routers are as they were. */
export interface WrittenModel {
  model: Model;
  layers: DoneLayer[];
  /** Null where records were not balanced. */
  balance: Balance | null;
  /** What became of the linears beside the routed experts; null when they were to be kept. */
  dense: DenseResult | null;
}

/** A layer that is written, and how it came about. */
export interface DoneLayer
  extends WrittenLayer, Pick<MadeLayer, 'stats' | 'smoothing' | 'rotation' | 'affinity'> {
  layer: MoeLayer;
}

/** What the linears of a written model must compute. */
export function checksOf({ layers, dense }: Pick<WrittenModel, 'layers' | 'dense'>): ParityCheck[] {
  return parityChecks(
    layers.map(({ reference }) => reference),
    dense?.references,
  );
}

/** Everything that decides the result. */
export interface WriteOrder {
  path: string;
  config: QuantizeConfig;
  /** Of each layer. */
  variants: readonly Variant[];
  resolved: ResolvedTarget;
  calibrator: Calibrator | null;
  /** A layer that was made before in its variant, or what `make` makes. */
  layerOf: (i: number, make: () => Promise<MadeLayer>) => Promise<MadeLayer>;
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
  const { path, config, variants, resolved, calibrator, layerOf } = order;
  const { model, layers } = prepareModel(path, resolved.opset);
  const original = new Set(model.graph.constants);
  const settle = (): void =>
    workshop.settle([...model.graph.constants].filter((value) => !original.has(value)));
  const few = writesFewRows(model, config) ? {} : { fewRowsAbove: Infinity };
  const done: DoneLayer[] = [];
  for (const [i, layer] of layers.entries()) {
    const detail = `${layer.id} (${layer.experts.length} experts)`;
    const tell = (count: number): void =>
      progress({ stage: 'quantize', detail, done: count, total: layers.length });
    // XᵀX leaves memory when this ends, before the layer is written.
    const make = async (): Promise<MadeLayer> => {
      const stats = source ? await source.statsOf(i, model) : null;
      tell(i);
      return makeLayer(layer, stats, settledBy(config, variants[i]), workshop);
    };
    done.push(await writeMade(model, layer, () => layerOf(i, make), { resolved, settle, ...few }));
    tell(i + 1);
  }
  model.graph.removeDeadCode();
  const dense = quantizeRest(model, layers, config, resolved);
  const written = { model, layers: done, balance: calibrator?.balance ?? null, dense };
  annotate(written, config, resolved);
  return written;
}

/**
 * Writes a layer when it is made. A function of its own, since an asynchronous loop keeps what a turn names until the next
 * one names it anew: here the codes of a layer while the next one is calibrated.
 */
async function writeMade(
  model: Model,
  layer: MoeLayer,
  make: () => Promise<MadeLayer>,
  settings: WriteSettings,
): Promise<DoneLayer> {
  const made = await make();
  const { stats, smoothing, rotation, affinity } = made;
  return { layer, stats, smoothing, rotation, affinity, ...writeLayer(model, layer, made, settings) };
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
