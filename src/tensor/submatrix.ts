import { matrix, type Matrix } from './matrix.ts';

/** A copy of the given rows and columns; both ranges exclude their end. */
export function submatrix(
  { cols, data }: Matrix,
  [top, bottom]: readonly [number, number],
  [left, right]: readonly [number, number],
): Matrix {
  const result = matrix(bottom - top, right - left);
  for (let r = top; r < bottom; r++) {
    result.data.set(data.subarray(r * cols + left, r * cols + right), (r - top) * result.cols);
  }
  return result;
}

/** The given rows without a copy. */
export function rowsOf({ cols, data }: Matrix, from: number, to: number): Matrix {
  return { rows: to - from, cols, data: data.subarray(from * cols, to * cols) };
}
