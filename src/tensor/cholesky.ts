import { gemm as plainGemm, type Gemm } from './gemm.ts';
import { matrix, transpose, type Matrix } from './matrix.ts';
import { rowsOf, submatrix } from './submatrix.ts';

/** A symmetric [rows, cols] matrix; float64 where sums of many products must not lose their tail. */
export interface SymmetricMatrix {
  rows: number;
  cols: number;
  data: Float32Array | Float64Array;
}

const blockSize = 64;

/**
 * The upper triangular R [n, n] with A = Rᵀ·R, zeros below the diagonal; null if a pivot is not positive, so A is not
 * positive definite in this arithmetic. Left-looking and blocked: the part of a block of rows that earlier rows
 * explain is one `gemm`, the rest is done in float64.
 */
export async function cholesky(a: SymmetricMatrix, gemm: Gemm = plainGemm): Promise<Matrix | null> {
  const n = a.rows;
  const factor = matrix(n, n);
  for (let from = 0; from < n; from += blockSize) {
    const to = Math.min(from + blockSize, n);
    const panel = new Float64Array(a.data.subarray(from * n, to * n));
    if (from > 0) {
      const above = rowsOf(factor, 0, from);
      const explained = (await gemm(transpose(submatrix(above, [0, from], [from, to])), above)).data;
      for (let i = 0; i < panel.length; i++) panel[i] -= explained[i];
    }
    if (!factorPanel(panel, { n, from, to })) return null;
    factor.data.set(panel, from * n);
  }
  return factor;
}

/** Factors rows from … to in place, given that earlier rows are already taken out; false if it cannot. */
function factorPanel(panel: Float64Array, { n, from, to }: { n: number; from: number; to: number }): boolean {
  for (let k = from; k < to; k++) {
    const pivotRow = panel.subarray((k - from) * n, (k - from + 1) * n);
    const pivot = pivotRow[k];
    if (!(pivot > 0 && pivot < Infinity)) return false;
    const root = Math.sqrt(pivot);
    pivotRow.fill(0, 0, k);
    for (let c = k; c < n; c++) pivotRow[c] /= root;
    for (let r = k + 1; r < to; r++) {
      const row = panel.subarray((r - from) * n, (r - from + 1) * n);
      const share = pivotRow[r];
      for (let c = r; c < n; c++) row[c] -= share * pivotRow[c];
    }
  }
  return true;
}
