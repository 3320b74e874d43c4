import type { LinearRows } from '../emit/parity-references.ts';

/**
 * ‖actual - expected‖ / ‖expected‖, or what that norm usually is: for kernels that round, whose single values may be off
 * by more.
 */
export function normError(actual: Float32Array, linear: LinearRows): number {
  const { data } = linear.rows;
  if (actual.length !== data.length) return Infinity;
  let [error, norm] = [0, data.length * linear.least ** 2];
  data.forEach((value, i) => {
    error += (actual[i] - value) ** 2;
    norm += sizeOf(linear, i) ** 2;
  });
  const relative = Math.sqrt(error / Math.max(norm, linear.usual ** 2));
  return Number.isNaN(relative) ? Infinity : relative;
}

/** Largest difference relative to the largest magnitude of its row; infinite for missing values and NaN. */
export function rowError(actual: Float32Array, linear: LinearRows): number {
  const { rows, cols, data } = linear.rows;
  if (actual.length !== data.length) return Infinity;
  let worst = 0;
  for (let r = 0; r < rows; r++) {
    let [gap, largest] = [0, linear.least];
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      const difference = Math.abs(actual[i] - data[i]);
      gap = Number.isNaN(difference) ? Infinity : Math.max(gap, difference);
      largest = Math.max(largest, sizeOf(linear, i));
    }
    worst = Math.max(worst, gap / largest);
  }
  return worst;
}

/**
 * Magnitude of an expected value or of the product in it: a bias that gives back what a shift took from the tokens may
 * leave next to nothing of it.
 */
function sizeOf({ rows: { cols, data }, bias }: LinearRows, i: number): number {
  return Math.max(Math.abs(data[i]), bias ? Math.abs(data[i] - bias[i % cols]) : 0);
}
