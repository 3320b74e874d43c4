import { Fault } from '../fault.ts';
import type { Batch } from '../data/batches.ts';
import { validRows } from '../data/batches.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Model } from '../onnx/model.ts';
import { Value } from '../onnx/value.ts';
import type { RunTensor, SessionOptions } from '../runtime/session.ts';
import { openSession, toFloats } from '../runtime/session.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { ChannelStats, LayerStats } from './layer-stats.ts';
import type { LayerTaps } from './tap-layer.ts';
import { tapLayer } from './tap-layer.ts';

export interface CalibrateOptions extends SessionOptions {
  /** Collect XᵀX of every expert linear's input. */
  gram?: boolean;
}

/**
 * Runs a model over calibration batches and returns the statistics of its MoE layers. They are computed by nodes
 * added to the graph; only their sums and maxima come into JavaScript. `model` is rewritten: pass one of your own.
 * @throws Fault CALIBRATION_EMPTY, ORT_*
 */
export async function calibrate(
  model: Model,
  layers: readonly MoeLayer[],
  batches: Iterable<Batch>,
  { gram = false, ...session }: CalibrateOptions = {},
): Promise<LayerStats[]> {
  const all = [...batches];
  if (all.length === 0)
    throw new Fault({ code: 'CALIBRATION_EMPTY', what: 'there are no calibration records' });
  const valid = all.some((batch) => batch.valid) ? addValidInput(model) : null;
  const taps = layers.map((layer) => tapLayer(model, layer, { gram, valid }));
  model.graph.outputs = taps.flatMap((tap) => Object.values(tap).filter((value) => value instanceof Value));
  model.graph.removeDeadCode();
  const runner = await openSession(model, session);
  try {
    const stats = layers.map(emptyStats);
    for (const batch of all) {
      const results = await runner.run(
        valid ? { ...batch.feeds, [valid.name]: validRows(batch) } : batch.feeds,
      );
      taps.forEach((tap, index) => accumulate(stats[index], readTaps(tap, results)));
    }
    return stats.map(finish);
  } finally {
    await runner.release();
  }
}

function addValidInput(model: Model): Value {
  const value = new Value(model.graph.uniqueName('moeq/valid'), {
    name: 'moeq/valid',
    type: { tensorType: { elemType: codeOf('bool') } },
  });
  model.graph.inputs.push(value);
  return value;
}

type TapData = { [K in keyof LayerTaps]: LayerTaps[K] extends Value ? Float32Array : Float32Array | null };

function readTaps(taps: LayerTaps, results: Record<string, RunTensor>): TapData {
  const entries = Object.entries(taps).map(([key, value]: [string, Value | null]) => [
    key,
    value && toFloats(results[value.name]),
  ]);
  return Object.fromEntries(entries) as TapData;
}

function emptyStats(layer: MoeLayer): LayerStats {
  return {
    id: layer.id,
    tokens: 0,
    inputAbsMax: new Float32Array(layer.hidden),
    probability: new Float32Array(layer.router.experts),
    experts: layer.experts
      .filter(({ kind }) => kind === 'ffn')
      .map(({ id }) => ({
        id,
        tokens: 0,
        input: emptyChannels(layer.hidden),
        hidden: emptyChannels(layer.intermediate),
      })),
  };
}

function emptyChannels(width: number): ChannelStats {
  return { absMax: new Float32Array(width), gram: null };
}

/** Adds one batch to the statistics; the probability stays a sum until {@link finish}. */
function accumulate(stats: LayerStats, taps: TapData): void {
  stats.tokens += taps.tokens[0];
  keepMax(stats.inputAbsMax, taps.inputAbsMax);
  addTo(stats.probability, taps.probability);
  stats.experts.forEach((expert, index) => {
    expert.tokens += taps.expertTokens[index];
    accumulateChannels(expert.input, index, taps.expertInputAbsMax, taps.expertInputGram);
    accumulateChannels(expert.hidden, index, taps.expertHiddenAbsMax, taps.expertHiddenGram);
  });
}

/** `absMax` and `gram` hold one part per expert. */
function accumulateChannels(
  stats: ChannelStats,
  index: number,
  absMax: Float32Array,
  gram: Float32Array | null,
): void {
  const width = stats.absMax.length;
  keepMax(stats.absMax, absMax.subarray(index * width, (index + 1) * width));
  if (!gram) return;
  stats.gram ??= new Float32Array(width * width);
  addTo(stats.gram, gram.subarray(index * width * width, (index + 1) * width * width));
}

function finish(stats: LayerStats): LayerStats {
  return { ...stats, probability: stats.probability.map((sum) => sum / stats.tokens) };
}

function keepMax(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = Math.max(target[i], values[i]);
}

function addTo(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += values[i];
}
