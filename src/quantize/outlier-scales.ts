/** Upper quantile of the channels that counts as usual; the lower one is its mirror. */
const quantile = 0.65;
/** Interquantile ranges above the upper quantile from where a channel may be an outlier. */
const reach = 1.5;
/** Exponent of an outlier's ratio to the largest usual channel. */
const rate = 0.7;

/**
 * Smoothing scales for the few outlier channels only, 1 elsewhere, from the largest magnitude of each, as EAQuant does
 * between `up` and `down` of an expert (arXiv 2506.13329, released code): channels far above the interquantile range are
 * candidates, an Otsu-like split of the candidates sets the threshold, and an outlier gets (its magnitude / the largest
 * usual one)^rate. The split compares shares of the largest one, so the scales do not depend on the unit of the data.
 */
export function outlierScales(absMax: Float32Array): Float32Array {
  const sorted = Array.from(absMax).toSorted((a, b) => a - b);
  const [low, high] = [quantileOf(sorted, 1 - quantile), quantileOf(sorted, quantile)];
  const candidates = sorted.filter((value) => value > high + reach * (high - low));
  const threshold = splitOf(candidates);
  const usual = Math.max(...sorted.filter((value) => value < threshold));
  const isAny = candidates.length > 0 && usual > 0;
  return absMax.map((value) => (isAny && value >= threshold ? (value / usual) ** rate : 1));
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
