/**
 * The order in which GPTQ settles columns, as column numbers by position; the last position is settled first. With
 * a Hessian diagonal the strongest channels go first, while the columns of a group stay together so that its scale
 * can be chosen when its turn comes; without one it is first column to last.
 */
export function settlingOrder(diagonal: Float64Array | null, cols: number, groupSize: number): Uint32Array {
  const columns = Array.from({ length: cols }, (_, j) => cols - 1 - j);
  if (!diagonal) return Uint32Array.from(columns);
  const groupOf = (j: number) => Math.floor(j / groupSize);
  const strength = new Float64Array(groupOf(cols - 1) + 1);
  diagonal.forEach((value, j) => (strength[groupOf(j)] = Math.max(strength[groupOf(j)], value)));
  const weakerFirst = (a: number, b: number) =>
    strength[groupOf(a)] - strength[groupOf(b)] ||
    groupOf(b) - groupOf(a) ||
    diagonal[a] - diagonal[b] ||
    b - a;
  return Uint32Array.from(columns.toSorted(weakerFirst));
}

/** The positions, rising from 0 to their number, between which columns share a group. */
export function runBounds(order: Uint32Array, groupSize: number): number[] {
  const groupAt = (p: number) => Math.floor(order[p] / groupSize);
  const starts = [...order.keys()].filter((p) => p === 0 || groupAt(p) !== groupAt(p - 1));
  return [...starts, order.length];
}
