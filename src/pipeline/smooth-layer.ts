import type { ExpertStats, LayerStats } from '../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import type { Activation, Expert, MoeLayer } from '../moe/moe-layer.ts';
import { readLinear } from '../moe/read-expert.ts';
import { outlierScales } from '../quantize/outlier-scales.ts';
import type { Requirement } from '../quantize/smooth.ts';
import { smoothingScales, smoothQuantScales } from '../quantize/smooth.ts';
import { columnAbsMax } from '../tensor/matrix.ts';

/** Smoothing of one layer: what each channel is divided by before it is quantized. */
export interface LayerSmoothing {
  /** Input of the layer, [hidden]; null for none. */
  input: Float32Array | null;
  /** Input of each expert's `down`, [intermediate], by expert id; an expert without an entry is not smoothed. */
  hidden: Map<string, Float32Array>;
}

export const noSmoothing: LayerSmoothing = { input: null, hidden: new Map() };

/** Smoothing scales of a layer from its statistics and weights, read one expert at a time. */
export function smoothLayer(
  layer: MoeLayer,
  stats: LayerStats,
  { enabled, alpha, aggregate, router, down }: QuantizeConfig['smoothing'],
): LayerSmoothing {
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
  const alwaysOn = alwaysOnReaders(layer, stats, router);
  return {
    input: smoothingScales({ experts: requirements, alwaysOn, alpha, aggregate }),
    hidden:
      down === 'off' ? new Map() : hiddenScales(experts, layer.activation, statsOf, { kind: down, alpha }),
  };
}

/** Readers of every token: the shared expert, and the router if it is to have a say. */
function alwaysOnReaders(layer: MoeLayer, stats: LayerStats, withRouter: boolean): Requirement[] {
  const { router, shared } = layer;
  const linears = [withRouter ? router.linear : null, shared?.gate, shared?.up];
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

/** Whether scaling the rows of `up` scales the input of `down` alike: true for a plain product, and for ReLU. */
function commutesWithScale({ name, limit, upOffset }: Activation, { gate }: Expert): boolean {
  return gate ? limit === null && upOffset === 0 : name === 'relu' || name === 'identity';
}
