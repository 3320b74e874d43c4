/**
 * A dense row-major float32 matrix. Weights are held as [out, in]: one row per output channel, so that
 * quantization groups run along a row.
 */
export interface Matrix {
  rows: number;
  cols: number;
  data: Float32Array;
}

export function matrix(
  rows: number,
  cols: number,
  data: Float32Array = new Float32Array(rows * cols),
): Matrix {
  return { rows, cols, data };
}

/** Rows transposed together: as many float32 as share a cache line of the result. */
const stripe = 16;

export function transpose({ rows, cols, data }: Matrix): Matrix {
  const result = matrix(cols, rows);
  for (let top = 0; top < rows; top += stripe) {
    const bottom = Math.min(top + stripe, rows);
    for (let c = 0; c < cols; c++) {
      for (let r = top; r < bottom; r++) result.data[c * rows + r] = data[r * cols + c];
    }
  }
  return result;
}

/** Multiplies row r by factor[r], in place. */
export function scaleRows({ rows, cols, data }: Matrix, factor: ArrayLike<number>): void {
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) data[r * cols + c] *= factor[r];
}

/** Multiplies column c by factor[c], in place. */
export function scaleColumns({ rows, cols, data }: Matrix, factor: ArrayLike<number>): void {
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) data[r * cols + c] *= factor[c];
}

/** Largest magnitude in each column. */
export function columnAbsMax({ rows, cols, data }: Matrix): Float32Array {
  const result = new Float32Array(cols);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) result[c] = Math.max(result[c], Math.abs(data[r * cols + c]));
  }
  return result;
}

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

/** One row without a copy. */
export function rowOf({ cols, data }: Matrix, row: number): Float32Array {
  return data.subarray(row * cols, (row + 1) * cols);
}
