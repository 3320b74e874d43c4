/** Consecutive positions whose columns share a scale. */
export interface Run {
  group: number;
  from: number;
  to: number;
}

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

/** The runs of one group each, in the order they are settled. */
export function runsOf(order: Uint32Array, groupSize: number): Run[] {
  const runs: Run[] = [];
  for (let to = order.length; to > 0; to = runs.at(-1)!.from) {
    const group = Math.floor(order[to - 1] / groupSize);
    let from = to - 1;
    while (from > 0 && Math.floor(order[from - 1] / groupSize) === group) from--;
    runs.push({ group, from, to });
  }
  return runs;
}
