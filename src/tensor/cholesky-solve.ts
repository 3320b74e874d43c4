import { addCombination, gemm as plainGemm, type Gemm } from './gemm.ts';
import type { Matrix } from './matrix.ts';
import { matrix, rowOf, rowsOf, submatrix, transpose } from './matrix.ts';

const blockSize = 64;

/** Solves A·X = B for X [n, m], given the Cholesky factor R of A = Rᵀ·R: Rᵀ·Y = B downwards, R·X = Y upwards. */
export async function choleskySolve(factor: Matrix, b: Matrix, gemm: Gemm = plainGemm): Promise<Matrix> {
  const n = factor.rows;
  const lower = transpose(factor);
  const x = matrix(n, b.cols, b.data.slice());
  for (let from = 0; from < n; from += blockSize) {
    const to = Math.min(from + blockSize, n);
    if (from > 0) subtract(x, from, await gemm(submatrix(lower, [from, to], [0, from]), rowsOf(x, 0, from)));
    for (let row = from; row < to; row++) eliminate(lower, x, row, [from, row]);
  }
  for (let to = n; to > 0; to -= Math.min(to, blockSize)) {
    const from = Math.max(0, to - blockSize);
    if (to < n) subtract(x, from, await gemm(submatrix(factor, [from, to], [to, n]), rowsOf(x, to, n)));
    for (let row = to - 1; row >= from; row--) eliminate(factor, x, row, [row + 1, to]);
  }
  return x;
}

/** Subtracts `change` from the rows of x that start at `from`. */
function subtract(x: Matrix, from: number, change: Matrix): void {
  const at = from * x.cols;
  change.data.forEach((value, i) => (x.data[at + i] -= value));
}

/** One step of substitution: row of x = (row of x − Σ triangle[row, from … to) · rows of x) / triangle[row, row]. */
function eliminate(triangle: Matrix, x: Matrix, row: number, [from, to]: readonly [number, number]): void {
  const target = rowOf(x, row);
  const start = row * triangle.cols;
  const shares = triangle.data.subarray(start + from, start + to).map((share) => -share);
  addCombination(target, shares, rowsOf(x, from, to).data);
  const pivot = triangle.data[start + row];
  for (let i = 0; i < target.length; i++) target[i] /= pivot;
}
