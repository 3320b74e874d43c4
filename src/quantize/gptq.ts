import { addCombination, gemm as plainGemm, type Gemm } from '../tensor/gemm.ts';
import { matrix, transpose, type Matrix } from '../tensor/matrix.ts';
import { rowsOf, submatrix } from '../tensor/submatrix.ts';
import { type Bits, groupCountOf, maxCodeOf, requireFinite, roundToGrid } from './grid.ts';
import { diagonalOf, factorHessian, type Hessian } from './hessian.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { absMaxScale, fitScales, type ScaleFit } from './scale-fit.ts';
import { runsOf, settlingOrder } from './settling-order.ts';

export interface GptqOptions {
  bits: Bits;
  /** Weights per scale along a row. */
  groupSize: number;
  /** Chooses each group's scale, on the weights as compensated so far; {@link absMaxScale} unless told otherwise. */
  fit?: ScaleFit;
  /** Added to the Hessian's diagonal, as a share of its mean; 0.01 by default. */
  damping?: number;
  /** Round the columns with the largest activations first; true by default. Groups stay together. */
  activationOrder?: boolean;
  gemm?: Gemm;
  /** Name the result carries. */
  method?: string;
}

/** Rows rounded between two calls of the matrix engine. */
const blockSize = 32;

/**
 * GPTQ (Frantar et al., arXiv 2210.17323): rounds the columns of W [out, in] one after another, each on the weights
 * that best make up for the errors of the columns before it, to keep tr(ΔHΔᵀ) small, Δ = W − Ŵ.
 *
 * With RᵀR = H (upper triangular) that loss is ‖RΔᵀ‖². Rows are settled from the last to the first: row p of RΔᵀ
 * depends on the settled rows only through debt = Σ_{q>p} R_pq Δ_q, and vanishes for the weight W_p + debt / R_pp,
 * which is what gets rounded. This equals the usual updates with the inverse Hessian's factor, without an inverse, and
 * the debts of a block are one product of matrices. Everything is held transposed, [in, out], so that inner loops run
 * along contiguous output channels.
 *
 * Throws `WEIGHT_NOT_FINITE` and `HESSIAN_NOT_POSITIVE`.
 */
export async function quantizeGptq(
  weight: Matrix,
  hessian: Hessian,
  options: GptqOptions,
): Promise<QuantizedTensor> {
  requireFinite(weight);
  const {
    bits,
    groupSize,
    fit = absMaxScale,
    damping = 0.01,
    activationOrder = true,
    gemm = plainGemm,
  } = options;
  const { rows, cols } = weight;
  const maxCode = maxCodeOf(bits);
  const groups = groupCountOf(cols, groupSize);
  const order = settlingOrder(activationOrder ? diagonalOf(hessian) : null, cols, groupSize);
  const factor = await factorHessian(hessian, { order, damping, gemm });
  const target = columnsInOrder(weight, order);
  const state = { factor, target, error: matrix(cols, rows), codes: new Int8Array(cols * rows), gemm };
  const scales = new Float32Array(rows * groups);

  for (const { group, from, to } of runsOf(order, groupSize)) {
    const current = await compensatedWeights(state, from, to);
    // R_pp² is what the loss charges for rounding position p: a far better weight for the fit than H_pp.
    const importance = Float64Array.from({ length: to - from }, (_, i) => pivotOf(factor, from + i) ** 2);
    const runScales = fitScales(current, { groupSize: to - from, maxCode, fit, importance });
    for (let end = to; end > from; end -= blockSize) {
      await settle(state, { from: Math.max(from, end - blockSize), to: end, scales: runScales, maxCode });
    }
    runScales.forEach((scale, r) => (scales[r * groups + group] = scale));
  }
  const codes = codesByColumn(state.codes, order, rows);
  return { rows, cols, bits, codes, groupSize, scales, zeroPoints: null, method: options.method ?? 'gptq' };
}

interface State {
  /** R [in, in], by position. */
  factor: Matrix;
  /** W transposed, [in, out], by position. */
  target: Matrix;
  /** Δ transposed, [in, out]; true for settled positions. */
  error: Matrix;
  /** [in, out], by position. */
  codes: Int8Array;
  gemm: Gemm;
}

/** What the settled positions after `to` leave on rows from … to of RΔᵀ, [to - from, out]. */
async function debtOf({ factor, error, gemm }: State, from: number, to: number): Promise<Matrix> {
  const { rows, cols } = error;
  if (to === rows) return matrix(to - from, cols);
  return gemm(submatrix(factor, [from, to], [to, rows]), rowsOf(error, to, rows));
}

/** Adds the debt owed to positions p + 1 … to, and returns row p of the debt. */
function addDebt({ factor, error }: State, debt: Matrix, p: number, from: number, to: number): Float32Array {
  const row = rowsOf(debt, p - from, p - from + 1).data;
  const shares = factor.data.subarray(p * factor.cols + p + 1, p * factor.cols + to);
  addCombination(row, shares, rowsOf(error, p + 1, to).data);
  return row;
}

/** The weights, [out, to - from], that would make up for all settled errors if they were not rounded. */
async function compensatedWeights(state: State, from: number, to: number): Promise<Matrix> {
  const weights = submatrix(state.target, [from, to], [0, state.target.cols]);
  if (to === state.target.rows) return transpose(weights);
  const debt = await debtOf(state, from, to);
  for (let p = to - 1; p >= from; p--) {
    const row = addDebt(state, debt, p, from, to);
    const pivot = pivotOf(state.factor, p);
    const error = rowsOf(state.error, p, p + 1).data;
    for (let r = 0; r < row.length; r++) error[r] = -row[r] / pivot;
  }
  const errors = rowsOf(state.error, from, to).data;
  for (let i = 0; i < errors.length; i++) weights.data[i] -= errors[i];
  return transpose(weights);
}

/** Rounds positions to - 1 … from, each on its compensated weight. */
async function settle(
  state: State,
  { from, to, scales, maxCode }: { from: number; to: number; scales: Float32Array; maxCode: number },
): Promise<void> {
  const { factor, target, error, codes } = state;
  const debt = await debtOf(state, from, to);
  for (let p = to - 1; p >= from; p--) {
    const row = addDebt(state, debt, p, from, to);
    const pivot = pivotOf(factor, p);
    const at = p * target.cols;
    for (let r = 0; r < row.length; r++) {
      const weight = target.data[at + r];
      const code = roundToGrid(weight + row[r] / pivot, scales[r], maxCode);
      codes[at + r] = code;
      error.data[at + r] = weight - code * scales[r];
    }
  }
}

function pivotOf(factor: Matrix, p: number): number {
  return factor.data[p * factor.cols + p];
}

/** W [out, in] transposed to [in, out], its rows in the given order of columns. */
function columnsInOrder(weight: Matrix, order: Uint32Array): Matrix {
  const byColumn = transpose(weight);
  const result = matrix(byColumn.rows, byColumn.cols);
  order.forEach((j, p) => result.data.set(rowsOf(byColumn, j, j + 1).data, p * result.cols));
  return result;
}

/** Codes [in, out] by position to [out, in]. */
function codesByColumn(codes: Int8Array, order: Uint32Array, rows: number): Int8Array {
  const result = new Int8Array(codes.length);
  for (let r = 0; r < rows; r++) {
    for (let p = 0; p < order.length; p++) result[r * order.length + order[p]] = codes[p * rows + r];
  }
  return result;
}
