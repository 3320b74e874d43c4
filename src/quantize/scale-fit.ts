import { roundToHalf } from '../tensor/half.ts';
import type { Matrix } from '../tensor/matrix.ts';
import { type Grid, groupCountOf, requireFinite } from './grid.ts';
import { fitsVectors, largestByVectors } from './vector-passes.ts';

/**
 * Chooses the step of one quantization group: the scale whose codes on `grid` hold the `weights` best. `importance`
 * weighs their squared errors (the Hessian diagonal), null weighs all alike. Always finite; negative where the one
 * code more below zero serves large positive weights; 1 for a group of zeros.
 */
export type ScaleFit = (weights: Float32Array, importance: ArrayLike<number> | null, grid: Grid) => number;

/** The smallest step that clips nothing on either side of zero: max|w| / most. */
export const absMaxScale: ScaleFit = (weights, _importance, { most }) => {
  let largest = 0;
  for (const weight of weights) largest = Math.max(largest, Math.abs(weight));
  return safeScale(largest / most);
};

/**
 * {@link absMaxScale} of every group, [rows, ceil(cols / groupSize)].
 * Throws `WEIGHT_NOT_FINITE`.
 */
export function absMaxScales(weight: Matrix, groupSize: number, { most }: Grid): Float32Array {
  const largest = fitsVectors(weight.cols, groupSize)
    ? largestByVectors(weight.data, groupSize)
    : largestBits(weight, groupSize);
  const scales = new Float32Array(largest.buffer);
  for (let i = 0; i < scales.length; i++) {
    if (!(scales[i] < Infinity)) requireFinite(weight);
    scales[i] = safeScale(scales[i] / most);
  }
  return scales;
}

/**
 * Of every group the bits of its largest magnitude. The bits of a float32 without its sign order as its magnitude does,
 * infinity and NaN last, so that integers are compared.
 */
function largestBits({ rows, cols, data }: Matrix, groupSize: number): Int32Array<ArrayBuffer> {
  const bits = new Int32Array(data.buffer, data.byteOffset, data.length);
  const largest = new Int32Array(rows * groupCountOf(cols, groupSize));
  let group = 0;
  for (let r = 0; r < rows; r++) {
    const end = (r + 1) * cols;
    for (let from = r * cols; from < end; from += groupSize) {
      const to = Math.min(from + groupSize, end);
      let most = 0;
      for (let i = from; i < to; i++) {
        const magnitude = bits[i] & 0x7fffffff;
        if (magnitude > most) most = magnitude;
      }
      largest[group++] = most;
    }
  }
  return largest;
}

/** Numbers that float16 keeps to 11 bits. */
const halfRange = { smallest: 2 ** -14, largest: 65504 };

/**
 * A scale as it is stored, so that codes are chosen for the very scale they will be multiplied by: a float16 number
 * where float16 has the range, else float32, never a denormal or an infinity. Where there is nothing to represent it is the
 * smallest of float16: kernels that add codes up in floats make no exact zero of them, and multiply what is left.
 */
export function safeScale(scale: number): number {
  if (scale < 0) return -safeScale(-scale);
  if (!(scale > 0)) return halfRange.smallest;
  if (scale >= halfRange.smallest && scale <= halfRange.largest) return roundToHalf(scale);
  return Math.fround(Math.min(Math.max(scale, 2 ** -126), 3.4e38));
}

/** How the scales of a weight are shared. */
export interface WeightGroups {
  /** Weights per scale along a row; `cols` for one scale per output channel. */
  groupSize: number;
  /** Scales of a row are whole multiples of one step, see `stepScale`; not by default. */
  inSteps?: boolean;
}

export interface FitOptions {
  groupSize: number;
  grid: Grid;
  /** Told which row the group is of. */
  fit: (...args: [...Parameters<ScaleFit>, row: number]) => number;
  /** One entry per column. */
  importance: Float32Array | Float64Array | null;
}

/** One scale per row and group, [rows, ceil(cols / groupSize)]. */
export function fitScales(
  { rows, cols, data }: Matrix,
  { groupSize, grid, fit, importance }: FitOptions,
): Float32Array {
  const groups = groupCountOf(cols, groupSize);
  const scales = new Float32Array(rows * groups);
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groups; g++) {
      const [from, to] = [g * groupSize, Math.min((g + 1) * groupSize, cols)];
      const group = data.subarray(r * cols + from, r * cols + to);
      scales[r * groups + g] = fit(group, importance?.subarray(from, to) ?? null, grid, r);
    }
  }
  return scales;
}
