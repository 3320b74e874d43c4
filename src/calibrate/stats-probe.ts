import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { valuesIn } from '../onnx/values-in.ts';
import type { Probe } from '../run/probe.ts';
import type { Results } from '../runtime/session.ts';
import { toFloats } from '../runtime/session.ts';
import type { ChannelStats, LayerStats } from './layer-stats.ts';
import { activationsNotFinite } from './layer-stats.ts';
import type { LayerTaps, TapOptions } from './tap-layer.ts';
import { tapLayer } from './tap-layer.ts';

/** A probe that adds up the statistics of a layer. */
export interface StatsProbe extends Probe {
  /** Of the batches taken so far. @throws Fault ACTIVATIONS_NOT_FINITE */
  stats(): LayerStats;
}

/** Writes a layer of a model with its statistics beside it; see `tapLayer`. */
export function statsProbe(model: Model, layer: MoeLayer, options: TapOptions): StatsProbe {
  const sums = emptyStats(layer, options.experts);
  const taps = tapLayer(model, layer, options);
  return {
    outputs: [...valuesIn(taps)],
    take: (results) => accumulate(sums, readTaps(taps, results)),
    stats: () => requireFinite(finish(sums)),
  };
}

type TapData = {
  [K in keyof LayerTaps]: LayerTaps[K] extends Value ? Float32Array : Float32Array[] | null;
};

function readTaps(taps: LayerTaps, results: Results): TapData {
  const read = (value: Value): Float32Array => toFloats(results[value.name]);
  const entries = Object.entries(taps).map(([key, taken]: [string, Value | Value[] | null]) => [
    key,
    Array.isArray(taken) ? taken.map(read) : taken && read(taken),
  ]);
  return Object.fromEntries(entries) as TapData;
}

function emptyStats(layer: MoeLayer, experts: ReadonlySet<string>): LayerStats {
  return {
    id: layer.id,
    tokens: 0,
    inputAbsMax: new Float32Array(layer.hidden),
    probability: new Float32Array(layer.router.experts),
    experts: layer.experts
      .filter(({ id }) => experts.has(id))
      .map(({ id }) => ({
        id,
        tokens: 0,
        mass: 0,
        inputMean: new Float32Array(layer.hidden),
        input: emptyChannels(layer.hidden),
        hidden: emptyChannels(layer.intermediate),
      })),
  };
}

function emptyChannels(width: number): ChannelStats {
  return { absMax: new Float32Array(width), gram: null };
}

/** Adds one batch to the statistics; means stay sums until {@link finish}. */
function accumulate(stats: LayerStats, taps: TapData): void {
  stats.tokens += taps.tokens[0];
  keepMax(stats.inputAbsMax, taps.inputAbsMax);
  addTo(stats.probability, taps.probability);
  stats.experts.forEach((expert, index) => {
    const width = expert.inputMean.length;
    expert.tokens += taps.expertTokens[index];
    expert.mass += taps.expertMass[index];
    addTo(expert.inputMean, taps.expertInputSum.subarray(index * width, (index + 1) * width));
    accumulateChannels(expert.input, index, taps.expertInputAbsMax, taps.expertInputGram?.[index]);
    accumulateChannels(expert.hidden, index, taps.expertHiddenAbsMax, taps.expertHiddenGram?.[index]);
  });
}

/** `absMax` holds one part per expert. What the first batch gave is kept as it is, and others are added to it. */
function accumulateChannels(
  stats: ChannelStats,
  index: number,
  absMax: Float32Array,
  gram: Float32Array | undefined,
): void {
  const width = stats.absMax.length;
  keepMax(stats.absMax, absMax.subarray(index * width, (index + 1) * width));
  if (!gram) return;
  if (stats.gram) addTo(stats.gram, gram);
  else stats.gram = gram;
}

function finish(stats: LayerStats): LayerStats {
  return {
    ...stats,
    probability: stats.probability.map((sum) => sum / stats.tokens),
    experts: stats.experts.map((expert) => ({
      ...expert,
      inputMean: expert.inputMean.map((sum) => (expert.mass > 0 ? sum / expert.mass : 0)),
    })),
  };
}

/** A NaN would choose scales in silence. What an expert sums up over its tokens shows in its means. */
function requireFinite(stats: LayerStats): LayerStats {
  const broken = stats.experts.find(
    ({ inputMean, input, hidden }) => ![inputMean, input.absMax, hidden.absMax].every(areFinite),
  );
  if (broken) throw activationsNotFinite(`expert ${broken.id}`);
  if (![stats.inputAbsMax, stats.probability].every(areFinite))
    throw activationsNotFinite(`layer ${stats.id}`);
  return stats;
}

function areFinite(values: Float32Array): boolean {
  return values.every(Number.isFinite);
}

function keepMax(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = Math.max(target[i], values[i]);
}

function addTo(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += values[i];
}
