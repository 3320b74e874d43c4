import { Fault } from '../fault.ts';
import { cholesky, type SymmetricMatrix } from '../tensor/cholesky.ts';
import type { Gemm } from '../tensor/gemm.ts';
import type { Matrix } from '../tensor/matrix.ts';
import { settlingOrder } from './settling-order.ts';

/** XᵀX of the tokens X [tokens, in] that reached an expert: [in, in]. */
export interface Hessian extends SymmetricMatrix {
  /** What sums in float32 may have left on its diagonal instead of zero; damping is no smaller. */
  noise?: number;
}

export function diagonalOf({ rows, data }: Hessian): Float64Array {
  return Float64Array.from({ length: rows }, (_, j) => data[j * rows + j]);
}

export function meanDiagonal(hessian: Hessian): number {
  return diagonalOf(hessian).reduce((sum, value) => sum + value, 0) / hessian.rows;
}

/** What damping adds to every diagonal entry: that share of the mean diagonal, 1 for a Hessian of zeros. */
export function dampingOf(hessian: Hessian, damping: number): number {
  return Math.max(damping * meanDiagonal(hessian), hessian.noise ?? 0) || 1;
}

/**
 * A Hessian with `added` on its diagonal, its rows and columns in the given order (their own unless told otherwise). A
 * dead channel (zero row and column) thereby stands on its own: nothing is compensated into or out of it.
 */
export function dampedHessian(hessian: Hessian, added: number, order?: ArrayLike<number>): Hessian {
  const n = hessian.rows;
  const data = new Float64Array(n * n);
  const channels = Uint32Array.from({ length: n }, (_, j) => (order ? order[j] : j));
  for (let r = 0; r < n; r++) {
    const at = channels[r] * n;
    for (let c = 0; c < n; c++) data[r * n + c] = hessian.data[at + channels[c]];
    data[r * n + r] += added;
  }
  return { rows: n, cols: n, data };
}

export interface FactoredHessian {
  /** The Hessian with as much damping as makes it positive definite. */
  damped: Hessian;
  /** The upper triangular R with RᵀR = `damped`. */
  factor: Matrix;
}

/**
 * Damps a Hessian and factors it. Damping is raised tenfold, three times at most, where it does not suffice. Throws
 * `HESSIAN_NOT_POSITIVE` if none does: the statistics hold NaN, infinities or are no XᵀX.
 */
export async function factorHessian(
  hessian: Hessian,
  { damping, gemm, order }: { damping: number; gemm: Gemm; order?: ArrayLike<number> },
): Promise<FactoredHessian> {
  for (const raised of [1, 10, 100, 1000]) {
    const damped = dampedHessian(hessian, raised * dampingOf(hessian, damping), order);
    const factor = await cholesky(damped, gemm);
    if (factor) return { damped, factor };
  }
  throw new Fault({
    code: 'HESSIAN_NOT_POSITIVE',
    what: `the ${hessian.rows}x${hessian.cols} Hessian is not positive definite`,
    why: `its Cholesky factorization failed with damping ${damping} up to ${damping * 1000} of the mean diagonal`,
    remedy: 'use --set rounding.damping=0.1 or --set rounding.method=clip, or give other records',
  });
}

/**
 * What GPTQ leaves of each channel's sum of squares, [in]: R_pp² of the damped Hessian's factor, the part of a channel
 * that those settled after it cannot make up for.
 */
export async function conditionalSquares(
  hessian: Hessian,
  { damping, gemm }: { damping: number; gemm: Gemm },
): Promise<Float64Array> {
  const order = settlingOrder(diagonalOf(hessian), hessian.rows, hessian.rows);
  const { factor } = await factorHessian(hessian, { damping, gemm, order });
  const squares = new Float64Array(hessian.rows);
  order.forEach((channel, p) => (squares[channel] = factor.data[p * factor.cols + p] ** 2));
  return squares;
}
