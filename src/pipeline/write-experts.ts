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
import type { MadeLayer, WrittenLayer } from './layer/write-layer.ts';
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
  /** Layers that are made already; those that are not take their place. Null for a model that is written once. */
  made: (MadeLayer | null)[] | null;
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
  const { path, config, resolved, calibrator } = order;
  const { model, layers } = prepareModel(path, resolved.opset);
  const original = new Set(model.graph.constants);
  const settle = (): void =>
    workshop.settle([...model.graph.constants].filter((value) => !original.has(value)));
  const done: DoneLayer[] = [];
  for (const [i, layer] of layers.entries()) {
    const detail = `${layer.id} (${layer.experts.length} experts)`;
    const onStart = (): void => progress({ stage: 'quantize', detail, done: i, total: layers.length });
    done.push(await writeInTurn({ i, layer, model, settle }, { source, onStart }, order, workshop));
    progress({ stage: 'quantize', detail, done: i + 1, total: layers.length });
  }
  model.graph.removeDeadCode();
  const dense = quantizeRest(model, layers, config, resolved);
  const written = { model, layers: done, balance: calibrator?.balance ?? null, dense };
  annotate(written, config, resolved);
  return written;
}

/** A layer of the model that is being written. */
interface Turn {
  i: number;
  layer: MoeLayer;
  model: Model;
  /** See `WriteSettings`. */
  settle: () => void;
}

/** Where a layer's statistics come from; `onStart` is told when they are there. */
interface Statistics {
  source: StatsSource | null;
  onStart: () => void;
}

/**
 * Makes a layer and writes it. A function of its own, since an asynchronous loop keeps what a turn names until the next one
 * names it anew: here the codes of a layer while the next one is calibrated.
 */
async function writeInTurn(
  turn: Turn,
  statistics: Statistics,
  order: WriteOrder,
  workshop: Workshop,
): Promise<DoneLayer> {
  const { i, layer, model, settle } = turn;
  const { config, resolved, made: known } = order;
  const made = await makeInTurn(turn, statistics, order, workshop);
  if (known) known[i] = made;
  const few = writesFewRows(model, config) ? {} : { fewRowsAbove: Infinity };
  const { stats, smoothing, rotation, affinity } = made;
  const settled = { layer, stats, smoothing, rotation, affinity };
  return { ...settled, ...writeLayer(model, layer, made, { resolved, settle, ...few }) };
}

/**
 * Calibrates and makes a layer, unless that is done. XᵀX leaves memory with this function, before the layer is looked
 * at.
 */
async function makeInTurn(
  { i, layer, model }: Turn,
  { source, onStart }: Statistics,
  { config, variants, made: known }: WriteOrder,
  workshop: Workshop,
): Promise<MadeLayer> {
  const stats = source && !known?.[i] ? await source.statsOf(i, model) : null;
  onStart();
  return known?.[i] ?? makeLayer(layer, stats, settledBy(config, variants[i]), workshop);
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
