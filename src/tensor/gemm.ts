import { matrix, type Matrix } from './matrix.ts';

/**
 * The product A·B of [m, k] and [k, n] in float32. Numerics take it as an argument, so that a faster engine can stand
 * in for {@link gemm}. An engine must give the same bits for the same input, must not keep the inputs, and must leave
 * them unchanged.
 */
export type Gemm = (a: Matrix, b: Matrix) => Matrix | Promise<Matrix>;

/** The plain product in JavaScript: sums in float64, four terms at a time. */
export function gemm(a: Matrix, b: Matrix): Matrix {
  const product = matrix(a.rows, b.cols);
  for (let r = 0; r < a.rows; r++) {
    const row = product.data.subarray(r * b.cols, (r + 1) * b.cols);
    addCombination(row, a.data.subarray(r * a.cols, (r + 1) * a.cols), b.data);
  }
  return product;
}

/**
 * target += coefficients · rows, in place: [n] += [k]·[k, n], with `rows` row-major. Four rows a pass, so that the
 * target is read and written once for four products.
 */
export function addCombination(target: Float32Array, coefficients: Float32Array, rows: Float32Array): void {
  const n = target.length;
  const count = coefficients.length;
  let k = 0;
  for (; k + 4 <= count; k += 4) {
    const [c0, c1, c2, c3] = [coefficients[k], coefficients[k + 1], coefficients[k + 2], coefficients[k + 3]];
    const at = k * n;
    for (let i = 0; i < n; i++) {
      target[i] +=
        c0 * rows[at + i] + c1 * rows[at + n + i] + c2 * rows[at + 2 * n + i] + c3 * rows[at + 3 * n + i];
    }
  }
  for (; k < count; k++) {
    for (let i = 0; i < n; i++) target[i] += coefficients[k] * rows[k * n + i];
  }
}
