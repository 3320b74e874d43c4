import type { Matrix } from '../tensor/matrix.ts';
import { type Bits, type Grid, gridOf, requireFinite } from './grid.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { absMaxScale, absMaxScales, fitScales, type ScaleFit, type WeightGroups } from './scale-fit.ts';
import { inStepsOf, rowSteps } from './step-scales.ts';
import { fitsVectors, roundByVectors } from './vector-passes.ts';

export interface RtnOptions extends WeightGroups {
  bits: Bits;
  /** The codes there are; all of those bits unless told otherwise. */
  grid?: Grid;
  /** Chooses each group's scale; the smallest that clips nothing unless told otherwise. */
  fit?: ScaleFit;
  /** Weight of each column's squared error, [cols], handed to `fit`. */
  importance?: Float32Array | Float64Array | null;
  /** Name the result carries. */
  method?: string;
}

/**
 * Round-to-nearest, ties to even: within ± `most`, or on the whole grid where a `fit` chooses scales.
 * Throws `WEIGHT_NOT_FINITE`.
 */
export function quantizeRtn(weight: Matrix, options: RtnOptions): QuantizedTensor {
  const { bits, groupSize, fit, inSteps, importance = null, method = 'rtn' } = options;
  const { grid = gridOf(bits) } = options;
  if (fit || inSteps) requireFinite(weight);
  const groups = { groupSize, grid, importance };
  const steps = inSteps ? rowSteps(weight, { ...groups, fit: fit ?? absMaxScale }) : null;
  const chosen = steps ? inStepsOf(steps) : fit;
  const scales = chosen
    ? fitScales(weight, { ...groups, fit: chosen })
    : absMaxScales(weight, groupSize, grid);
  const { rows, cols } = weight;
  // Scales of the largest weight clip nothing.
  const codes =
    !chosen && fitsVectors(cols, groupSize)
      ? roundByVectors(weight.data, scales, groupSize)
      : roundGroups(weight, scales, groupSize, chosen ? grid : null);
  return { rows, cols, bits, codes, groupSize, scales, ...(steps && { steps }), method };
}

/** Adding it to a double of magnitude below 2^51 and taking it away leaves the nearest integer, ties to even. */
const integerShift = 1.5 * 2 ** 52;

/** `roundToGrid` of every weight: the same codes, without a call for each. Without a grid nothing is clipped. */
function roundGroups(
  { rows, cols, data }: Matrix,
  scales: Float32Array,
  groupSize: number,
  grid: Grid | null,
): Int8Array {
  const codes = new Int8Array(rows * cols);
  let group = 0;
  for (let r = 0; r < rows; r++) {
    const end = (r + 1) * cols;
    for (let from = r * cols; from < end; from += groupSize) {
      const to = Math.min(from + groupSize, end);
      const scale = scales[group++];
      if (!grid) {
        for (let i = from; i < to; i++) codes[i] = data[i] / scale + integerShift - integerShift;
        continue;
      }
      for (let i = from; i < to; i++) {
        const steps = Math.max(grid.least, Math.min(grid.most, data[i] / scale));
        codes[i] = steps + integerShift - integerShift;
      }
    }
  }
  return codes;
}
