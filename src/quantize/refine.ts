import { addCombination, gemm as plainGemm, type Gemm } from '../tensor/gemm.ts';
import type { Matrix } from '../tensor/matrix.ts';
import { matrix, rowOf, rowsOf, submatrix, transpose } from '../tensor/matrix.ts';
import { type Grid, gridOf, groupCountOf, roundToGrid } from './grid.ts';
import { factorHessian, type Hessian } from './hessian.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { safeScale } from './scale-fit.ts';
import { nearestMultiple } from './step-scales.ts';

export interface RefineOptions {
  /** Passes over all columns; stops earlier when nothing changes. */
  sweeps?: number;
  /** Added to the Hessian's diagonal, as a share of its mean; the same as in GPTQ. */
  damping?: number;
  /** Also move scales to fit the codes; true by default. Without it scales depend smoothly on the statistics. */
  refitScales?: boolean;
  /** The codes there are; all of the tensor's bits unless told otherwise. */
  grid?: Grid;
  gemm?: Gemm;
}

/** Columns between two calls of the matrix engine. */
const blockSize = 32;

/**
 * Lowers tr(ΔHΔᵀ), Δ = W − Ŵ, of a quantized weight by coordinate descent: every code in turn becomes the best one
 * given all others, as in QuantEase (arXiv 2309.01885), then every scale the best one given the codes. GPTQ settles a
 * column without knowing the errors of those that come after it; this looks back. No step ever raises the loss.
 *
 * With E = HΔᵀ, column j of Δ is best at Δ_j − E_j / H_jj, and the scale of group g moves by Σ c·E / c·(H_gg c).
 * Throws `HESSIAN_NOT_POSITIVE`.
 */
export async function refine(
  weight: Matrix,
  hessian: Hessian,
  tensor: QuantizedTensor,
  options: RefineOptions = {},
): Promise<QuantizedTensor> {
  const { sweeps = 4, damping = 0.01, refitScales = true, gemm = plainGemm } = options;
  const { rows, cols, groupSize } = tensor;
  // Damped as far as GPTQ would: without it an indefinite Hessian rewards errors.
  const { damped } = await factorHessian(hessian, { damping, gemm });
  const groups = groupCountOf(cols, groupSize);
  const state: State = {
    hessian: { rows: cols, cols, data: new Float32Array(damped.data) },
    target: transpose(weight),
    codes: transpose(matrix(rows, cols, new Float32Array(tensor.codes))),
    scales: transpose(matrix(rows, groups, tensor.scales.slice())),
    error: matrix(cols, rows),
    grid: options.grid ?? gridOf(tensor.bits),
    steps: tensor.steps ?? null,
    gemm,
  };
  for (let j = 0; j < cols; j++) updateError(state, j, Math.floor(j / groupSize));
  for (let sweep = 0, moved = 1; sweep < sweeps && moved > 0; sweep++) {
    moved = 0;
    for (let group = 0; group < groups; group++) {
      const [from, to] = [group * groupSize, Math.min((group + 1) * groupSize, cols)];
      for (let at = from; at < to; at += blockSize) {
        moved += await improveCodes(state, at, Math.min(at + blockSize, to), group);
      }
      if (refitScales) await improveScales(state, from, to, group);
    }
  }
  return {
    ...tensor,
    codes: new Int8Array(transpose(state.codes).data),
    scales: transpose(state.scales).data,
  };
}

interface State {
  /** Damped H, [in, in]. */
  hessian: Matrix;
  /** W transposed, [in, out]. */
  target: Matrix;
  /** [in, out] */
  codes: Matrix;
  /** [groups, out] */
  scales: Matrix;
  /** Δ transposed, [in, out]. */
  error: Matrix;
  grid: Grid;
  /** What scales have to be whole multiples of, [out]; null where they need not be. */
  steps: Float32Array | null;
  gemm: Gemm;
}

/** Rows from … to of HΔᵀ. */
async function gradientOf({ hessian, error, gemm }: State, from: number, to: number): Promise<Matrix> {
  return gemm(rowsOf(hessian, from, to), error);
}

/** Gives columns from … to their best codes, one after the other; returns how many codes changed. */
async function improveCodes(state: State, from: number, to: number, group: number): Promise<number> {
  const { hessian, target, codes, error, grid } = state;
  const gradient = await gradientOf(state, from, to);
  const change = matrix(to - from, target.cols);
  const scales = rowOf(state.scales, group);
  let moved = 0;
  for (let j = from; j < to; j++) {
    const row = rowOf(gradient, j - from);
    const shares = hessian.data.subarray(j * hessian.cols + from, j * hessian.cols + j);
    addCombination(row, shares, rowsOf(change, 0, j - from).data);
    const pivot = hessian.data[j * hessian.cols + j];
    for (let r = 0, at = j * target.cols; r < row.length; r++, at++) {
      const best = target.data[at] - error.data[at] + row[r] / pivot;
      const code = roundToGrid(best, scales[r], grid);
      if (code === codes.data[at]) continue;
      change.data[(j - from) * row.length + r] = (codes.data[at] - code) * scales[r];
      codes.data[at] = code;
      error.data[at] = target.data[at] - code * scales[r];
      moved += 1;
    }
  }
  return moved;
}

/** Gives the group of columns from … to its best scales, where those have the sign they had. */
async function improveScales(state: State, from: number, to: number, group: number): Promise<void> {
  const { hessian, codes, steps } = state;
  const gradient = await gradientOf(state, from, to);
  const groupCodes = rowsOf(codes, from, to);
  const curvature = await state.gemm(submatrix(hessian, [from, to], [from, to]), groupCodes);
  const scales = rowOf(state.scales, group);
  for (let r = 0; r < scales.length; r++) {
    let [slope, norm] = [0, 0];
    for (let at = r; at < groupCodes.data.length; at += scales.length) {
      slope += groupCodes.data[at] * gradient.data[at];
      norm += groupCodes.data[at] * curvature.data[at];
    }
    // The nearest scale that can be stored is never farther from the best one than the scale before was.
    const best = scales[r] + slope / norm;
    if (norm > 0 && best * scales[r] > 0)
      scales[r] = steps ? nearestMultiple(best, steps[r]) : safeScale(best);
  }
  for (let j = from; j < to; j++) updateError(state, j, group);
}

/** Row j of Δᵀ from its codes and scales. */
function updateError({ target, codes, scales, error }: State, j: number, group: number): void {
  const n = target.cols;
  for (let r = 0; r < n; r++) {
    error.data[j * n + r] = target.data[j * n + r] - codes.data[j * n + r] * scales.data[group * n + r];
  }
}
