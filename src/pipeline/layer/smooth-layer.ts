import type { ExpertStats, LayerStats } from '../../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../../config/schema.ts';
import { ffnExperts } from '../../moe/ffn-experts.ts';
import type { Expert, MoeLayer } from '../../moe/moe-layer.ts';
import { readLinear } from '../../moe/read-expert.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { quantizeRtn } from '../../quantize/rtn.ts';
import { hasCoarseActivations, schemeOf } from '../../quantize/scheme.ts';
import type { Requirement } from '../../quantize/smooth.ts';
import { smoothingScales } from '../../quantize/smooth.ts';
import { columnAbsMax, matrix } from '../../tensor/matrix.ts';

/** Smoothing of a layer's input: what each channel is divided by before it is quantized, and what is taken from it then. */
export interface LayerSmoothing {
  /** [hidden]; null for none. */
  input: Float32Array | null;
  /** Subtracted from the divided input of each expert, [1, hidden] in 8 bits, by expert id. */
  shifts: Map<string, QuantizedTensor>;
}

export const noSmoothing: LayerSmoothing = { input: null, shifts: new Map() };

/** Smoothing of a layer from its statistics and weights, read one expert at a time. */
export function smoothLayer(layer: MoeLayer, stats: LayerStats, config: QuantizeConfig): LayerSmoothing {
  const { enabled, alpha, aggregate } = config.smoothing;
  if (!enabled) return noSmoothing;
  const statsOf = new Map(stats.experts.map((expert) => [expert.id, expert]));
  const experts = ffnExperts(layer);
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

/** By default where tokens have one coarse grid each: blocks of channels follow by themselves what tokens share. */
function shiftsInputs({ smoothing: { shift }, scheme, activations: { block } }: QuantizeConfig): boolean {
  return shift === 'auto' ? hasCoarseActivations(schemeOf(scheme)) && block === 'token' : shift;
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
