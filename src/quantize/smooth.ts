/**
 * What one reader of a smoothed tensor asks for: the largest magnitude of its input and of its weight, per input
 * channel. `activationAbsMax` is null for a reader that saw no token; it then has no vote.
 */
export interface Requirement {
  /** [H] */
  activationAbsMax: ArrayLike<number> | null;
  /** [H], over the output rows of every linear that reads the tensor (gate and up together). */
  weightAbsMax: ArrayLike<number>;
}

interface ExpertRequirement extends Requirement {
  /** Tokens routed to the expert. */
  tokens: number;
  /** Mean router probability of the expert over all tokens. */
  probability: number;
}

/** How the experts' requirements become one: the channel-wise maximum, or a sum weighted by use. */
type Aggregate = 'max' | 'frequency' | 'probability';

export interface SmoothingOptions {
  experts: readonly ExpertRequirement[];
  /** Readers of every token (shared expert, router if it is to have a say), joined by maximum. */
  alwaysOn?: readonly Requirement[];
  /** Share of the difficulty moved into the weights, 0 to 1; 0 means no smoothing at all. */
  alpha: number;
  aggregate: Aggregate;
}

/**
 * Expert-aware smoothing scales s [H] of one MoE layer (EAQuant, arXiv 2506.13329, section 3.1): divide the norm's
 * gain by s and multiply the columns of router and experts by s. Each expert asks for
 * s_j = max|x_j|^alpha / max|w_j|^(1-alpha) (SmoothQuant, eq. 4), over its own tokens.
 *
 * A requirement of zero (dead activation or weight column) is no vote; a channel without votes keeps scale 1. The
 * others are normalised to geometric mean 1, so that the folded gain stays where it was. All scales are finite and
 * positive.
 */
export function smoothingScales({
  experts,
  alwaysOn = [],
  alpha,
  aggregate,
}: SmoothingOptions): Float32Array {
  const channels = [...experts, ...alwaysOn][0].weightAbsMax.length;
  const shares = sharesOf(experts, aggregate);
  const scales = new Float64Array(channels);
  if (alpha > 0) {
    for (let j = 0; j < channels; j++) {
      const votes = experts.map((expert, e) => shares[e] * channelRequirement(expert, j, alpha));
      const always = alwaysOn.map((reader) => channelRequirement(reader, j, alpha));
      const joint = aggregate === 'max' ? Math.max(0, ...votes) : votes.reduce((sum, vote) => sum + vote, 0);
      scales[j] = Math.max(joint, ...always);
    }
  }
  return geometricMeanOne(scales);
}

/** SmoothQuant's scales for a tensor with one reader, such as the input of an expert's down projection. */
export function smoothQuantScales(reader: Requirement, alpha: number): Float32Array {
  return smoothingScales({ experts: [], alwaysOn: [reader], alpha, aggregate: 'max' });
}

function sharesOf(experts: readonly ExpertRequirement[], aggregate: Aggregate): number[] {
  if (aggregate === 'max') return experts.map(() => 1);
  const used = experts.map(({ activationAbsMax, tokens, probability }) =>
    activationAbsMax === null ? 0 : aggregate === 'frequency' ? tokens : probability,
  );
  const total = used.reduce((sum, share) => sum + share, 0);
  return used.map((share) => (total > 0 ? share / total : 0));
}

function channelRequirement(
  { activationAbsMax, weightAbsMax }: Requirement,
  j: number,
  alpha: number,
): number {
  const activation = activationAbsMax?.[j] ?? 0;
  const weight = weightAbsMax[j];
  return activation > 0 && weight > 0 ? activation ** alpha / weight ** (1 - alpha) : 0;
}

/** Brings positive scales to geometric mean 1 and gives 1 to the rest; kept within 2^±40 for float32's sake. */
export function geometricMeanOne(scales: Float64Array): Float32Array {
  const positive = scales.filter((scale) => scale > 0);
  const mean = Math.exp(positive.reduce((sum, scale) => sum + Math.log(scale), 0) / positive.length);
  return Float32Array.from(scales, (scale) =>
    scale > 0 ? Math.min(Math.max(scale / mean, 2 ** -40), 2 ** 40) : 1,
  );
}
