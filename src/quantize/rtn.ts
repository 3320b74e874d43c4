import type { Matrix } from '../tensor/matrix.ts';
import { type Bits, maxCodeOf, minCodeOf, requireFinite } from './grid.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { fitsVectors, roundByVectors } from './vector-passes.ts';
import { absMaxScales, fitScales, type ScaleFit } from './scale-fit.ts';

export interface RtnOptions {
  bits: Bits;
  /** Weights per scale along a row. */
  groupSize: number;
  /** Chooses each group's scale; the smallest that clips nothing unless told otherwise. */
  fit?: ScaleFit;
  /** Weight of each column's squared error, [cols], handed to `fit`. */
  importance?: Float32Array | Float64Array | null;
  /** Name the result carries. */
  method?: string;
}

/**
 * Round-to-nearest, ties to even: within ± (2^(bits-1)-1), or the whole range of codes where a `fit` chooses scales.
 * Throws `WEIGHT_NOT_FINITE`.
 */
export function quantizeRtn(weight: Matrix, options: RtnOptions): QuantizedTensor {
  const { bits, groupSize, fit, importance = null, method = 'rtn' } = options;
  const maxCode = maxCodeOf(bits);
  if (fit) requireFinite(weight);
  const scales = fit
    ? fitScales(weight, { groupSize, maxCode, fit, importance })
    : absMaxScales(weight, groupSize, maxCode);
  const { rows, cols } = weight;
  // Scales of the largest weight clip nothing.
  const codes =
    !fit && fitsVectors(cols, groupSize)
      ? roundByVectors(weight.data, scales, groupSize)
      : roundGroups(weight, scales, groupSize, fit ? maxCode : Infinity);
  return { rows, cols, bits, codes, groupSize, scales, zeroPoints: null, method };
}

/** Adding it to a double of magnitude below 2^51 and taking it away leaves the nearest integer, ties to even. */
const integerShift = 1.5 * 2 ** 52;

/** `roundToGrid` of every weight: the same codes, without a call for each. A `limit` of Infinity is not looked at. */
function roundGroups(
  { rows, cols, data }: Matrix,
  scales: Float32Array,
  groupSize: number,
  limit: number,
): Int8Array {
  const codes = new Int8Array(rows * cols);
  const clips = limit < Infinity;
  const least = minCodeOf(limit);
  let group = 0;
  for (let r = 0; r < rows; r++) {
    const end = (r + 1) * cols;
    for (let from = r * cols; from < end; from += groupSize) {
      const to = Math.min(from + groupSize, end);
      const scale = scales[group++];
      if (!clips) {
        for (let i = from; i < to; i++) codes[i] = data[i] / scale + integerShift - integerShift;
        continue;
      }
      for (let i = from; i < to; i++) {
        const steps = Math.max(least, Math.min(limit, data[i] / scale));
        codes[i] = steps + integerShift - integerShift;
      }
    }
  }
  return codes;
}
