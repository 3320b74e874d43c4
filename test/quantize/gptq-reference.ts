import type { Hessian } from '../../src/quantize/hessian.ts';
import { floatToHalf, halfToFloat } from '../../src/tensor/half.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';

export interface ReferenceOptions {
  bits: number;
  groupSize: number;
  damping: number;
  activationOrder: boolean;
}

/** A matrix as its rows. */
type Rows = Float64Array[];

/**
 * GPTQ as its paper states it, step by step in float64: damp the Hessian, invert it, factor the inverse, and after each
 * column that is rounded update all columns after it. Absmax scales on the updated weights. The judge of the fast one,
 * which has no inverse, goes backwards and in blocks.
 */
export function gptqReference(weight: Matrix, hessian: Hessian, options: ReferenceOptions) {
  const { rows, cols } = weight;
  const { bits, groupSize } = options;
  const maxCode = 2 ** (bits - 1) - 1;
  const minCode = bits === 8 ? -maxCode : -maxCode - 1;
  const order = orderOf(hessian, options);
  const factor = transposed(lowerFactor(inverse(damped(hessian, order, options.damping))));
  const codes = new Int8Array(rows * cols);
  const groups = Math.ceil(cols / groupSize);
  const scales = new Float32Array(rows * groups);
  const groupAt = (p: number) => Math.floor(order[p] / groupSize);

  for (let r = 0; r < rows; r++) {
    const row = Float64Array.from(order, (j) => weight.data[r * cols + j]);
    let scale = 1;
    for (let p = 0; p < cols; p++) {
      const group = groupAt(p);
      if (p === 0 || group !== groupAt(p - 1)) {
        scale = absMaxScale(
          row.filter((_, q) => groupAt(q) === group),
          maxCode,
        );
        scales[r * groups + group] = scale;
      }
      const code = Math.max(minCode, Math.min(maxCode, Math.round(row[p] / scale)));
      codes[r * cols + order[p]] = code;
      const error = (row[p] - code * scale) / factor[p][p];
      for (let q = p; q < cols; q++) row[q] -= error * factor[p][q];
    }
  }
  return { rows, cols, codes, groupSize, scales };
}

function absMaxScale(weights: Float64Array, maxCode: number): number {
  const largest = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0);
  return largest > 0 ? halfToFloat(floatToHalf(largest / maxCode)) : 1;
}

/** Strongest group first, strongest column of a group first. */
function orderOf({ rows, data }: Hessian, { groupSize, activationOrder }: ReferenceOptions): number[] {
  const columns = Array.from({ length: rows }, (_, j) => j);
  if (!activationOrder) return columns;
  const diagonal = columns.map((j) => data[j * rows + j]);
  const groupOf = (j: number) => Math.floor(j / groupSize);
  const strength: number[] = [];
  for (const j of columns) strength[groupOf(j)] = Math.max(strength[groupOf(j)] ?? 0, diagonal[j]);
  return columns.toSorted((a, b) =>
    groupOf(a) === groupOf(b) ? diagonal[b] - diagonal[a] : strength[groupOf(b)] - strength[groupOf(a)],
  );
}

/** The Hessian in the given order, a share of its mean diagonal added to each diagonal entry. */
function damped({ rows: n, data }: Hessian, order: number[], damping: number): Rows {
  const mean = order.reduce((sum, j) => sum + data[j * n + j], 0) / n;
  const result = order.map((a) => Float64Array.from(order, (b) => data[a * n + b]));
  result.forEach((row, i) => (row[i] += damping * mean || 1));
  return result;
}

/** The lower triangular L with L·Lᵀ = a (Cholesky). */
function lowerFactor(a: Rows): Rows {
  const factor = a.map((row) => new Float64Array(row.length));
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j <= i; j++) {
      const rest = a[i][j] - dot(factor[i], factor[j], 0, j);
      factor[i][j] = i === j ? Math.sqrt(rest) : rest / factor[j][j];
    }
  }
  return factor;
}

/** The inverse of a positive definite matrix: with a = L·Lᵀ it is L⁻ᵀ·L⁻¹. */
function inverse(a: Rows): Rows {
  const columns = transposed(inverseOfLower(lowerFactor(a)));
  const n = a.length;
  const result = a.map(() => new Float64Array(n));
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) result[i][j] = result[j][i] = dot(columns[i], columns[j], i, n);
  }
  return result;
}

/** Solves L·X = 1 row by row: row i of X is (row i of 1 − Σ_{k<i} L_ik · row k of X) / L_ii. */
function inverseOfLower(lower: Rows): Rows {
  const result = lower.map((row) => new Float64Array(row.length));
  for (let i = 0; i < lower.length; i++) {
    const row = result[i];
    row[i] = 1;
    for (let k = 0; k < i; k++) {
      for (let j = 0; j <= k; j++) row[j] -= lower[i][k] * result[k][j];
    }
    for (let j = 0; j <= i; j++) row[j] /= lower[i][i];
  }
  return result;
}

/** Σ a_k·b_k for k from … to. */
function dot(a: Float64Array, b: Float64Array, from: number, to: number): number {
  let sum = 0;
  for (let k = from; k < to; k++) sum += a[k] * b[k];
  return sum;
}

function transposed(a: Rows): Rows {
  return a.map((_, i) => Float64Array.from(a, (row) => row[i]));
}
