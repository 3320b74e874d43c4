import { matrix, type Matrix } from '../tensor/matrix.ts';
import { groupCountOf } from './grid.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';

/** The float32 weight a quantized tensor stands for, [rows, cols]. */
export function dequantize(tensor: QuantizedTensor): Matrix {
  const { rows, cols, codes, groupSize, scales } = tensor;
  const groups = groupCountOf(cols, groupSize);
  const result = matrix(rows, cols);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const group = r * groups + Math.floor(c / groupSize);
      result.data[r * cols + c] = codes[r * cols + c] * scales[group];
    }
  }
  return result;
}
