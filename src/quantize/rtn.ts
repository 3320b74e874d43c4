import type { Matrix } from '../tensor/matrix.ts';
import { type Bits, groupCountOf, maxCodeOf, requireFinite, roundToGrid } from './grid.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { absMaxScale, fitScales, type ScaleFit } from './scale-fit.ts';

export interface RtnOptions {
  bits: Bits;
  /** Weights per scale along a row. */
  groupSize: number;
  /** Chooses each group's scale; {@link absMaxScale} unless told otherwise. */
  fit?: ScaleFit;
  /** Weight of each column's squared error, [cols], handed to `fit`. */
  importance?: Float32Array | Float64Array | null;
  /** Name the result carries. */
  method?: string;
}

/**
 * Round-to-nearest onto the symmetric grid -(2^(bits-1)-1) … 2^(bits-1)-1, ties to even.
 * Throws `WEIGHT_NOT_FINITE`.
 */
export function quantizeRtn(weight: Matrix, options: RtnOptions): QuantizedTensor {
  requireFinite(weight);
  const { bits, groupSize, fit = absMaxScale, importance = null, method = 'rtn' } = options;
  const maxCode = maxCodeOf(bits);
  const scales = fitScales(weight, { groupSize, maxCode, fit, importance });
  const { rows, cols, data } = weight;
  const groups = groupCountOf(cols, groupSize);
  const codes = new Int8Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const scale = scales[r * groups + Math.floor(c / groupSize)];
      codes[r * cols + c] = roundToGrid(data[r * cols + c], scale, maxCode);
    }
  }
  return { rows, cols, bits, codes, groupSize, scales, zeroPoints: null, method };
}
