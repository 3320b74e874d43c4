import { addCombination, gemm as plainGemm, type Gemm } from '../tensor/gemm.ts';
import type { Matrix } from '../tensor/matrix.ts';
import { matrix, rowOf, rowsOf, submatrix, transpose } from '../tensor/matrix.ts';
import { type Bits, type Grid, gridOf, groupCountOf, requireFinite, roundToGrid } from './grid.ts';
import { diagonalOf, factorHessian, type Hessian } from './hessian.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { absMaxScale, fitScales, type ScaleFit, type WeightGroups } from './scale-fit.ts';
import { runBounds, settlingOrder } from './settling-order.ts';
import { inStepsOf, rowSteps } from './step-scales.ts';

export interface GptqOptions extends WeightGroups {
  bits: Bits;
  /** The codes there are; all of those bits unless told otherwise. */
  grid?: Grid;
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

/** Positions settled one by one, between products of matrices. */
const blockSize = 16;

/**
 * GPTQ (Frantar et al., arXiv 2210.17323): rounds the columns of W [out, in] one after another, each on the weights
 * that best make up for the errors of the columns before it, to keep tr(ΔHΔᵀ) small, Δ = W − Ŵ.
 *
 * With RᵀR = H (upper triangular) that loss is ‖RΔᵀ‖². Rows are settled from the last to the first: row p of RΔᵀ
 * depends on the settled rows only through debt = Σ_{q>p} R_pq Δ_q, and vanishes for the weight W_p + debt / R_pp,
 * which is what gets rounded. This equals the usual updates with the inverse Hessian's factor, without an inverse.
 * Everything is held transposed, [in, out], so that inner loops run along contiguous output channels.
 *
 * Throws `WEIGHT_NOT_FINITE` and `HESSIAN_NOT_POSITIVE`.
 */
export async function quantizeGptq(
  weight: Matrix,
  hessian: Hessian,
  options: GptqOptions,
): Promise<QuantizedTensor> {
  requireFinite(weight);
  const { bits, groupSize, fit = absMaxScale, damping = 0.01, activationOrder = true } = options;
  const { rows, cols } = weight;
  const gemm = options.gemm ?? plainGemm;
  const { grid = gridOf(bits) } = options;
  const groups = groupCountOf(cols, groupSize);
  const importance = diagonalOf(hessian);
  const steps = options.inSteps ? rowSteps(weight, { groupSize, grid, fit, importance }) : null;
  const order = settlingOrder(activationOrder ? importance : null, cols, groupSize);
  const { factor } = await factorHessian(hessian, { order, damping, gemm });
  const target = columnsInOrder(weight, order);
  const state: State = { factor, target, debt: matrix(cols, rows), error: matrix(cols, rows), gemm };
  const byColumn = matrix(cols, rows); // codes, column by column
  const scales = new Float32Array(rows * groups);

  await backwards(state, runBounds(order, groupSize), async (from, to) => {
    const current = await compensatedWeights(state, from, to);
    // R_pp² is what the loss charges for rounding position p: a far better weight for the fit than H_pp.
    const pivots = Float64Array.from({ length: to - from }, (_, i) => pivotOf(factor, from + i) ** 2);
    const fitting = { groupSize: to - from, grid, fit: steps ? inStepsOf(steps) : fit, importance: pivots };
    const runScales = fitScales(current, fitting);
    const group = Math.floor(order[from] / groupSize);
    runScales.forEach((scale, r) => (scales[r * groups + group] = scale));
    await eachBackwards(state, from, to, (p) => {
      roundPosition(state, p, runScales, grid, rowOf(byColumn, order[p]));
    });
  });
  return {
    rows,
    cols,
    bits,
    codes: new Int8Array(transpose(byColumn).data),
    groupSize,
    scales,
    ...(steps && { steps }),
    method: options.method ?? 'gptq',
  };
}

interface State {
  /** R [in, in], by position. */
  factor: Matrix;
  /** W transposed, [in, out], by position. */
  target: Matrix;
  /** What settled positions leave on the rows of RΔᵀ, [in, out]; complete when the turn of a row comes. */
  debt: Matrix;
  /** Δ transposed, [in, out]; true for settled positions. */
  error: Matrix;
  gemm: Gemm;
}

/**
 * Settles the stretches of positions between `bounds`, the last first. Halves, and halves of halves: once the upper one
 * is settled, what it leaves on the lower one is a product of matrices.
 */
async function backwards(
  state: State,
  bounds: readonly number[],
  settle: (from: number, to: number) => void | Promise<void>,
): Promise<void> {
  const [from, to] = [bounds[0], bounds[bounds.length - 1]];
  if (bounds.length === 2) return settle(from, to);
  const half = bounds.length >> 1;
  const middle = bounds[half];
  await backwards(state, bounds.slice(half), settle);
  const { factor, debt, error, gemm } = state;
  const owed = await gemm(submatrix(factor, [from, middle], [middle, to]), rowsOf(error, middle, to));
  addTo(rowsOf(debt, from, middle).data, owed.data);
  await backwards(state, bounds.slice(0, half + 1), settle);
}

/** Settles positions to - 1 … from, each by `settle`, which sets its error from its debt. */
async function eachBackwards(
  state: State,
  from: number,
  to: number,
  settle: (p: number) => void,
): Promise<void> {
  const { factor, debt, error } = state;
  const count = Math.ceil((to - from) / blockSize);
  const bounds = Array.from({ length: count + 1 }, (_, i) => Math.min(from + i * blockSize, to));
  await backwards(state, bounds, (first, last) => {
    for (let p = last - 1; p >= first; p--) {
      const shares = rowOf(factor, p).subarray(p + 1, last);
      addCombination(rowOf(debt, p), shares, rowsOf(error, p + 1, last).data);
      settle(p);
    }
  });
}

/** The weights, [out, to - from], that would make up for all settled errors if they were not rounded. */
async function compensatedWeights(state: State, from: number, to: number): Promise<Matrix> {
  const { target, error } = state;
  const weights = submatrix(target, [from, to], [0, target.cols]);
  if (to === target.rows) return transpose(weights);
  const debt = rowsOf(state.debt, from, to).data;
  const owed = debt.slice();
  await eachBackwards(state, from, to, (p) => payInFull(state, p));
  debt.set(owed);
  const errors = rowsOf(error, from, to).data;
  for (let i = 0; i < errors.length; i++) weights.data[i] -= errors[i];
  return transpose(weights);
}

/** Gives position p the error that makes up for its debt in full. */
function payInFull({ factor, debt, error }: State, p: number): void {
  const pivot = pivotOf(factor, p);
  const debts = rowOf(debt, p);
  const errors = rowOf(error, p);
  for (let r = 0; r < debts.length; r++) errors[r] = -debts[r] / pivot;
}

/** Rounds position p on its compensated weights, to `codes`. */
function roundPosition(
  { factor, target, debt, error }: State,
  p: number,
  scales: Float32Array,
  grid: Grid,
  codes: Float32Array,
): void {
  const pivot = pivotOf(factor, p);
  const weights = rowOf(target, p);
  const debts = rowOf(debt, p);
  const errors = rowOf(error, p);
  for (let r = 0; r < codes.length; r++) {
    codes[r] = roundToGrid(weights[r] + debts[r] / pivot, scales[r], grid);
    errors[r] = weights[r] - codes[r] * scales[r];
  }
}

function addTo(target: Float32Array, added: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += added[i];
}

function pivotOf(factor: Matrix, p: number): number {
  return factor.data[p * factor.cols + p];
}

/** W [out, in] transposed to [in, out], its rows in the given order of columns. */
function columnsInOrder(weight: Matrix, order: Uint32Array): Matrix {
  const byColumn = transpose(weight);
  const result = matrix(byColumn.rows, byColumn.cols);
  order.forEach((j, p) => result.data.set(rowOf(byColumn, j), p * result.cols));
  return result;
}
