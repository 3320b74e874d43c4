import type { Hessian } from '../../src/quantize/hessian.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { floatToHalf, halfToFloat } from '../../src/tensor/half.ts';

/** What the reference settles a column with: the scale of row r in group g, on the weights as updated so far. */
export interface ReferenceOptions {
  maxCode: number;
  groupSize: number;
  damping: number;
  activationOrder: boolean;
}

/**
 * GPTQ as its paper states it, in plain float64: invert the damped Hessian, factor the inverse, and after each
 * column update all columns after it. Absmax scales on the updated weights. Slow and clear; the judge of the fast one.
 */
export function gptqReference(weight: Matrix, hessian: Hessian, options: ReferenceOptions) {
  const { rows, cols } = weight;
  const { maxCode, groupSize } = options;
  const h = rowsOfSquare(hessian);
  const mean = h.reduce((sum, row, j) => sum + row[j], 0) / cols;
  const order = orderOf(
    h.map((row, j) => row[j]),
    options,
  );
  const damped = order.map((a) => order.map((b) => h[a][b] + (a === b ? options.damping * mean || 1 : 0)));
  const u = upperFactor(invert(damped));
  const w = Array.from({ length: rows }, (_, r) => order.map((j) => weight.data[r * cols + j]));
  const codes = new Int8Array(rows * cols);
  const groups = Math.ceil(cols / groupSize);
  const scales = new Float32Array(rows * groups);

  for (let r = 0; r < rows; r++) {
    const row = w[r];
    let scale = 1;
    for (let p = 0; p < cols; p++) {
      const group = Math.floor(order[p] / groupSize);
      if (p === 0 || group !== Math.floor(order[p - 1] / groupSize)) {
        const largest = Math.max(
          ...row.filter((_, q) => Math.floor(order[q] / groupSize) === group).map(Math.abs),
        );
        scale = largest > 0 ? halfToFloat(floatToHalf(largest / maxCode)) : 1;
        scales[r * groups + group] = scale;
      }
      const code = Math.max(-maxCode, Math.min(maxCode, Math.round(row[p] / scale)));
      codes[r * cols + order[p]] = code;
      const error = (row[p] - code * scale) / u[p][p];
      for (let q = p; q < cols; q++) row[q] -= error * u[p][q];
    }
  }
  return { rows, cols, codes, groupSize, scales };
}

function rowsOfSquare({ rows, data }: Hessian): number[][] {
  return Array.from({ length: rows }, (_, r) => Array.from(data.subarray(r * rows, (r + 1) * rows)));
}

/** Strongest group first, strongest column of a group first. */
function orderOf(diagonal: number[], { groupSize, activationOrder }: ReferenceOptions): number[] {
  const columns = diagonal.map((_, j) => j);
  if (!activationOrder) return columns;
  const strength = (j: number) => {
    const start = Math.floor(j / groupSize) * groupSize;
    return Math.max(...diagonal.slice(start, start + groupSize));
  };
  return columns.toSorted((a, b) => {
    const sameGroup = Math.floor(a / groupSize) === Math.floor(b / groupSize);
    return sameGroup ? diagonal[b] - diagonal[a] : strength(b) - strength(a);
  });
}

/** Gauss-Jordan elimination; the matrices here need no pivoting. */
function invert(a: number[][]): number[][] {
  const n = a.length;
  const work = a.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  for (let k = 0; k < n; k++) {
    const pivot = work[k][k];
    work[k] = work[k].map((value) => value / pivot);
    for (let i = 0; i < n; i++) {
      const factor = work[i][k];
      if (i === k || factor === 0) continue;
      for (let j = k; j < 2 * n; j++) work[i][j] -= factor * work[k][j];
    }
  }
  return work.map((row) => row.slice(n));
}

/** U with UᵀU = a. */
function upperFactor(a: number[][]): number[][] {
  const n = a.length;
  const u = a.map((row) => row.map(() => 0));
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) {
      let sum = a[i][j];
      for (let k = 0; k < i; k++) sum -= u[k][i] * u[k][j];
      u[i][j] = i === j ? Math.sqrt(sum) : sum / u[i][i];
    }
  }
  return u;
}
