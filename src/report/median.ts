/** Numbers among figures that may be missing or NaN. */
export function measured(values: readonly (number | null)[]): number[] {
  return values.flatMap((value) => (value === null || Number.isNaN(value) ? [] : [value]));
}

/** The middle value, or the mean of the two in the middle; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  if (sorted.length % 2 === 1) return sorted[middle];
  return (sorted[middle - 1] + sorted[middle]) / 2;
}
