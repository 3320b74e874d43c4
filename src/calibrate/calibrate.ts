import type { Batch } from '../data/batches.ts';
import { Fault } from '../fault.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { Value } from '../onnx/value.ts';
import { toFloats } from '../runtime/session.ts';
import type { ChannelStats, LayerStats } from './layer-stats.ts';
import type { AttachProbe, Results, RunOptions } from './run-probes.ts';
import { runProbes } from './run-probes.ts';
import type { LayerTaps } from './tap-layer.ts';
import { tapLayer } from './tap-layer.ts';

export interface CalibrateOptions extends RunOptions {
  /** Collect XᵀX of every expert linear's input. */
  gram?: boolean;
  /** Weigh tokens by their routing in it; see `tapLayer`. */
  affinity?: boolean;
}

/**
 * Runs a model over calibration batches and returns the statistics of its MoE layers. They are computed by nodes
 * added to the graph; only their sums and maxima come into JavaScript.
 * @throws Fault CALIBRATION_EMPTY, and those of {@link runProbes}
 */
export async function calibrate(
  open: () => PreparedModel,
  batches: readonly Batch[],
  { gram = false, affinity = false, ...options }: CalibrateOptions = {},
): Promise<LayerStats[]> {
  if (batches.length === 0)
    throw new Fault({ code: 'CALIBRATION_EMPTY', what: 'there are no calibration records' });
  const stats: LayerStats[] = [];
  const attach: AttachProbe = (model, layer, index, valid) => {
    stats[index] = emptyStats(layer);
    const taps = tapLayer(model, layer, { gram, affinity, valid });
    const outputs = Object.values(taps).filter((value) => value instanceof Value);
    return { outputs, take: (results) => accumulate(stats[index], readTaps(taps, results)) };
  };
  await runProbes(open, batches, attach, options);
  return stats.map(finish);
}

type TapData = { [K in keyof LayerTaps]: LayerTaps[K] extends Value ? Float32Array : Float32Array | null };

function readTaps(taps: LayerTaps, results: Results): TapData {
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
  return {
    ...stats,
    probability: stats.probability.map((sum) => sum / stats.tokens),
    experts: stats.experts.map((expert) => ({
      ...expert,
      inputMean: expert.inputMean.map((sum) => (expert.mass > 0 ? sum / expert.mass : 0)),
    })),
  };
}

function keepMax(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = Math.max(target[i], values[i]);
}

function addTo(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += values[i];
}
