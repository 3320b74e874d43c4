import type { Gemm } from './gemm.ts';
import { addCombination, gemm as plainGemm } from './gemm.ts';
import type { Matrix } from './matrix.ts';
import { matrix, rowOf, rowsOf, submatrix, transpose } from './matrix.ts';

/** A symmetric [rows, cols] matrix; float64 where sums of many products must not lose their tail. */
export interface SymmetricMatrix {
  rows: number;
  cols: number;
  data: Float32Array | Float64Array;
}

/** Rows factored in float64, between products of matrices. */
const blockSize = 32;

/**
 * The upper triangular R [n, n] with A = Rᵀ·R, zeros below the diagonal; null if a pivot is not positive, so A is not
 * positive definite in this arithmetic.
 */
export async function cholesky(a: SymmetricMatrix, gemm: Gemm = plainGemm): Promise<Matrix | null> {
  const n = a.rows;
  const factor = matrix(n, n);
  for (let r = 0; r < n; r++) factor.data.set(a.data.subarray(r * n + r, (r + 1) * n), r * n + r);
  return (await factorRows(factor, 0, n, gemm)) ? factor : null;
}

/**
 * Turns rows from … to of what the rows above leave of A into rows of R, in place; false if it cannot. Halves, and
 * halves of halves: what the upper half explains of the lower one is a product of matrices.
 */
async function factorRows(factor: Matrix, from: number, to: number, gemm: Gemm): Promise<boolean> {
  if (to - from <= blockSize) return factorBlock(factor, from, to, gemm);
  const middle = from + blockSize * Math.ceil((to - from) / blockSize / 2);
  if (!(await factorRows(factor, from, middle, gemm))) return false;
  const upper = submatrix(factor, [from, middle], [middle, factor.cols]);
  const explained = await gemm(transpose(submatrix(upper, [0, upper.rows], [0, to - middle])), upper);
  subtractFrom(factor, middle, explained);
  return factorRows(factor, middle, to, gemm);
}

/** Takes `explained` from the rows that start at `first`, on and above the diagonal. */
function subtractFrom({ cols, data }: Matrix, first: number, explained: Matrix): void {
  for (let r = 0; r < explained.rows; r++) {
    const at = (first + r) * cols + first;
    for (let c = r; c < explained.cols; c++) data[at + c] -= explained.data[r * explained.cols + c];
  }
}

/** The square on the diagonal is factored step by step; its factor inverted makes the rest of the rows. */
async function factorBlock(factor: Matrix, from: number, to: number, gemm: Gemm): Promise<boolean> {
  const size = to - from;
  const solved = factorSquare(submatrix(factor, [from, to], [from, to]));
  if (!solved) return false;
  place(submatrix(solved, [0, size], [0, size]), factor, from, from);
  if (to === factor.cols) return true;
  const rest = submatrix(factor, [from, to], [to, factor.cols]);
  place(await gemm(submatrix(solved, [0, size], [size, 2 * size]), rest), factor, from, to);
  return true;
}

/**
 * R and R⁻ᵀ side by side, [n, 2n], of a square of which the upper triangle counts: the row operations that turn it into
 * R turn the identity into R⁻ᵀ. Null if a pivot is not positive.
 */
function factorSquare({ rows: n, data }: Matrix): Matrix | null {
  const rows = Array.from({ length: n }, (_, r) => {
    const row = new Float64Array(2 * n);
    row.set(data.subarray(r * n, (r + 1) * n));
    row[n + r] = 1;
    return row;
  });
  const result = matrix(n, 2 * n);
  for (let k = 0; k < n; k++) {
    const pivot = rows[k][k];
    if (!(pivot > 0 && pivot < Infinity)) return null;
    const root = Math.sqrt(pivot);
    for (let c = 0; c < 2 * n; c++) rows[k][c] = c < k ? 0 : rows[k][c] / root;
    for (let r = k + 1; r < n; r++) subtractMultiple(rows[r], rows[k][r], rows[k]);
    result.data.set(rows[k], k * 2 * n);
  }
  return result;
}

/** target -= share · row, in place. */
function subtractMultiple(target: Float64Array, share: number, row: Float64Array): void {
  for (let i = 0; i < target.length; i++) target[i] -= share * row[i];
}

/** Writes a matrix into a larger one, its first entry at row `top`, column `left`. */
function place({ rows, cols, data }: Matrix, into: Matrix, top: number, left: number): void {
  for (let r = 0; r < rows; r++) {
    into.data.set(data.subarray(r * cols, (r + 1) * cols), (top + r) * into.cols + left);
  }
}

/** Rows solved one by one, between such products. */
const solvedRows = 64;

/** Solves A·X = B for X [n, m], given the Cholesky factor R of A = Rᵀ·R: Rᵀ·Y = B downwards, R·X = Y upwards. */
export async function choleskySolve(factor: Matrix, b: Matrix, gemm: Gemm = plainGemm): Promise<Matrix> {
  const n = factor.rows;
  const lower = transpose(factor);
  const x = matrix(n, b.cols, b.data.slice());
  for (let from = 0; from < n; from += solvedRows) {
    const to = Math.min(from + solvedRows, n);
    if (from > 0) subtract(x, from, await gemm(submatrix(lower, [from, to], [0, from]), rowsOf(x, 0, from)));
    for (let row = from; row < to; row++) eliminate(lower, x, row, [from, row]);
  }
  for (let to = n; to > 0; to -= Math.min(to, solvedRows)) {
    const from = Math.max(0, to - solvedRows);
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
