/** Of each token, as shares of what the layer puts out on average. */
export function differencesOf(before: readonly Float32Array[], after: readonly Float32Array[]): number[] {
  const sizes = before.map(energyOf);
  // Where the file itself makes no numbers, there is nothing to compare.
  const known = [...sizes.keys()].filter((token) => Number.isFinite(sizes[token]));
  const mean = known.reduce((sum, token) => sum + sizes[token], 0) / known.length;
  return known.map((token) =>
    shareOf(energyOf(before[token].map((value, i) => value - after[token][i])), mean),
  );
}

function energyOf(row: Float32Array): number {
  return row.reduce((sum, value) => sum + value ** 2, 0);
}

function shareOf(difference: number, mean: number): number {
  if (difference === 0) return 0;
  const share = Math.sqrt(difference / mean);
  return Number.isNaN(share) ? Infinity : share;
}

/** A difference that tells, and what it may be. */
export interface Measure {
  difference: number;
  tolerance: number;
}

/** Sums in float32 differ by their order alone. */
export function exactly(differences: readonly number[]): Measure {
  return { difference: Math.max(0, ...differences), tolerance: 1e-3 };
}

/**
 * Half floats, and operators of quantized weights, round on their way: now and then a token goes to another expert, as
 * tokens do in masses where a layer is misread.
 */
export function roughly(differences: readonly number[]): Measure {
  const ascending = differences.toSorted((a, b) => a - b);
  return { difference: ascending.at(Math.floor(0.95 * (ascending.length - 1))) ?? 0, tolerance: 0.1 };
}
