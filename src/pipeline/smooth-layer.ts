import type { ExpertStats, LayerStats } from '../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import type { Activation, Expert, MoeLayer } from '../moe/moe-layer.ts';
import { readLinear } from '../moe/read-expert.ts';
import { outlierScales } from '../quantize/outlier-scales.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { quantizeRtn } from '../quantize/rtn.ts';
import { hasCoarseActivations, schemeOf } from '../quantize/scheme.ts';
import type { Requirement } from '../quantize/smooth.ts';
import { smoothingScales, smoothQuantScales } from '../quantize/smooth.ts';
import { columnAbsMax, matrix } from '../tensor/matrix.ts';

/** Smoothing of one layer: what each channel is divided by before it is quantized, and what is taken from it then. */
export interface LayerSmoothing {
  /** Input of the layer, [hidden]; null for none. */
  input: Float32Array | null;
  /** Input of each expert's `down`, [intermediate], by expert id; an expert without an entry is not smoothed. */
  hidden: Map<string, Float32Array>;
  /** Subtracted from the divided input of each expert, [1, hidden] in 8 bits, by expert id. */
  shifts: Map<string, QuantizedTensor>;
}

export const noSmoothing: LayerSmoothing = { input: null, hidden: new Map(), shifts: new Map() };

/** Smoothing of a layer from its statistics and weights, read one expert at a time. */
export function smoothLayer(layer: MoeLayer, stats: LayerStats, config: QuantizeConfig): LayerSmoothing {
  const { enabled, alpha, aggregate, down } = config.smoothing;
  if (!enabled) return noSmoothing;
  const statsOf = new Map(stats.experts.map((expert) => [expert.id, expert]));
  const experts = layer.experts.filter(({ kind }) => kind === 'ffn');
  const requirements = experts.map((expert) => {
    const seen = statsOf.get(expert.id)!;
    return {
      activationAbsMax: seen.tokens > 0 ? seen.input.absMax : null,
      weightAbsMax: firstLinearAbsMax(expert),
      tokens: seen.tokens,
      probability: stats.probability[expert.index],
    };
  });
  const alwaysOn = alwaysOnReaders(layer, stats, config);
  const input = smoothingScales({ experts: requirements, alwaysOn, alpha, aggregate });
  return {
    input,
    hidden:
      down === 'off' ? new Map() : hiddenScales(experts, layer.activation, statsOf, { kind: down, alpha }),
    shifts: shiftsInputs(config) ? inputShifts(stats.experts, input) : new Map(),
  };
}

/** Readers of every token: the shared expert where it is quantized, and the router if it is to have a say. */
function alwaysOnReaders(
  { router, shared }: MoeLayer,
  stats: LayerStats,
  { smoothing, dense }: QuantizeConfig,
): Requirement[] {
  const quantized = dense.scheme === 'keep' ? [] : [shared?.gate, shared?.up];
  const linears = smoothing.router ? [router.linear, ...quantized] : quantized;
  return linears
    .filter((linear) => linear != null)
    .map((linear) => ({
      activationAbsMax: stats.inputAbsMax,
      weightAbsMax: columnAbsMax(readLinear(linear).weight),
    }));
}

function firstLinearAbsMax({ gate, up }: Expert): Float32Array {
  const largest = columnAbsMax(readLinear(up!).weight);
  return gate
    ? columnAbsMax(readLinear(gate).weight).map((value, j) => Math.max(value, largest[j]))
    : largest;
}

function hiddenScales(
  experts: readonly Expert[],
  activation: Activation,
  statsOf: ReadonlyMap<string, ExpertStats>,
  { kind, alpha }: { kind: 'smoothquant' | 'otsu'; alpha: number },
): LayerSmoothing['hidden'] {
  const scales = new Map<string, Float32Array>();
  for (const expert of experts) {
    const { tokens, hidden } = statsOf.get(expert.id)!;
    if (tokens === 0 || !commutesWithScale(activation, expert)) continue;
    const { absMax } = hidden;
    scales.set(
      expert.id,
      kind === 'otsu'
        ? outlierScales({ max: absMax, min: absMax.map((value) => -value) })
        : smoothQuantScales(
            { activationAbsMax: absMax, weightAbsMax: columnAbsMax(readLinear(expert.down!).weight) },
            alpha,
          ),
    );
  }
  return scales;
}

function shiftsInputs({ smoothing: { shift }, scheme }: QuantizeConfig): boolean {
  return shift === 'auto' ? hasCoarseActivations(schemeOf(scheme)) : shift;
}

/**
 * The mean of each expert's tokens: routing gathers tokens that point the same way, and what they share need not be
 * quantized with each of them. Channel-wise shifting (Outlier Suppression+, arXiv 2304.09145), expert by expert.
 */
function inputShifts(experts: readonly ExpertStats[], scales: Float32Array): LayerSmoothing['shifts'] {
  const seen = experts.filter(({ tokens }) => tokens > 0);
  return new Map(
    seen.map(({ id, inputMean }) => {
      const mean = matrix(
        1,
        scales.length,
        inputMean.map((value, j) => value / scales[j]),
      );
      return [id, quantizeRtn(mean, { bits: 8, groupSize: scales.length })];
    }),
  );
}

/** Whether scaling the rows of `up` scales the input of `down` alike: true for a plain product, and for ReLU. */
function commutesWithScale({ name, limit, upOffset }: Activation, { gate }: Expert): boolean {
  return gate ? limit === null && upOffset === 0 : name === 'relu' || name === 'identity';
}
