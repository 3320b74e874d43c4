/** Largest and smallest value each channel takes, [channels]. */
export interface ChannelRange {
  max: ArrayLike<number>;
  min: ArrayLike<number>;
}

export interface OutlierOptions {
  /** Upper quantile of the channel extremes that counts as usual; the lower one is its mirror. */
  quantile?: number;
  /** Interquantile ranges above the upper quantile from where a channel may be an outlier. */
  reach?: number;
  /** Exponent of the outlier's ratio to the largest usual channel, 0 (no smoothing) to 1 (full). */
  rate?: number;
}

/**
 * Smoothing scales for the few outlier channels only, 1 elsewhere, as EAQuant does between `up` and `down` of an
 * expert (arXiv 2506.13329, released code): channels far above the interquantile range are candidates, an
 * Otsu-like split of the candidates sets the threshold, and an outlier gets (its extreme / largest usual
 * extreme)^rate. Positive and negative extremes are judged apart and the larger scale wins.
 * The split compares extremes as shares of the largest one, so the scales do not depend on the unit of the data.
 */
export function outlierScales({ max, min }: ChannelRange, options: OutlierOptions = {}): Float32Array {
  const above = oneSided(Array.from(max), options);
  const below = oneSided(
    Array.from(min, (value) => -value),
    options,
  );
  return Float32Array.from(above, (scale, j) => Math.max(scale, below[j]));
}

function oneSided(
  extremes: number[],
  { quantile = 0.65, reach = 1.5, rate = 0.7 }: OutlierOptions,
): number[] {
  const sorted = extremes.toSorted((a, b) => a - b);
  const [low, high] = [quantileOf(sorted, 1 - quantile), quantileOf(sorted, quantile)];
  const candidates = sorted.filter((value) => value > high + reach * (high - low));
  const threshold = splitOf(candidates);
  const usual = Math.max(...extremes.filter((value) => value < threshold));
  if (candidates.length === 0 || !(usual > 0)) return extremes.map(() => 1);
  return extremes.map((value) => (value < threshold ? 1 : (value / usual) ** rate));
}

/** The smallest candidate that is an outlier: the split with the largest gap less the variance below it. */
function splitOf(candidates: number[]): number {
  const shares = candidates.map((value) => value / candidates.at(-1)!);
  let best = { score: -Infinity, threshold: candidates[0] };
  for (let i = 1; i < shares.length; i++) {
    const score = shares[i] - shares[i - 1] - varianceOf(shares.slice(0, i));
    if (score > best.score) best = { score, threshold: candidates[i] };
  }
  return best.threshold;
}

function varianceOf(values: number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}

/** Linear interpolation between order statistics. */
function quantileOf(sorted: number[], share: number): number {
  const at = share * (sorted.length - 1);
  const floor = Math.floor(at);
  const next = Math.min(floor + 1, sorted.length - 1);
  return sorted[floor] + (at - floor) * (sorted[next] - sorted[floor]);
}
