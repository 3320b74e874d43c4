import type { Matrix } from '../tensor/matrix.ts';
import { matrix } from '../tensor/matrix.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { fitsVectors, multiplyByVectors } from './vector-passes.ts';

/** x·Wᵀ, [x.rows, W.rows], with sums in float64 of float32 inputs. No weight is made, and a row of zeros costs nothing. */
export function timesCodes(x: Matrix, weight: QuantizedTensor): Matrix {
  const product = matrix(x.rows, weight.rows);
  const inputs = Array.from({ length: x.rows }, (_, row) => row).filter((row) =>
    rowOf(x, row).some((value) => value !== 0),
  );
  const multiply = canUseVectors(weight) ? multiplyFast : multiplyTwo;
  for (let i = 0; i < inputs.length; i += 2) {
    const [first, second] = [inputs[i], inputs[i + 1] ?? inputs[i]];
    const sums = multiply([rowOf(x, first), rowOf(x, second)], weight);
    for (let r = 0; r < weight.rows; r++) {
      product.data[first * weight.rows + r] = sums[2 * r];
      product.data[second * weight.rows + r] = sums[2 * r + 1];
    }
  }
  return product;
}

function rowOf({ data, cols }: Matrix, row: number): Float32Array {
  return data.subarray(row * cols, (row + 1) * cols);
}

type Pair = readonly [Float32Array, Float32Array];

function canUseVectors({ cols, groupSize, zeroPoints }: QuantizedTensor): boolean {
  return !zeroPoints && fitsVectors(cols, Math.min(cols, groupSize));
}

function multiplyFast(inputs: Pair, weight: QuantizedTensor): Float64Array {
  return multiplyByVectors(inputs, weight, Math.min(weight.cols, weight.groupSize));
}

/** Two inputs at a time: to read a code takes as long as to multiply it. */
function multiplyTwo([x0, x1]: Pair, weight: QuantizedTensor): Float64Array {
  const { rows, cols, codes, groupSize, scales, zeroPoints } = weight;
  const sums = new Float64Array(rows * 2);
  let group = 0;
  for (let r = 0; r < rows; r++) {
    const row = codes.subarray(r * cols, (r + 1) * cols);
    for (let from = 0; from < cols; from += groupSize, group++) {
      const [to, zero, scale] = [Math.min(from + groupSize, cols), zeroPoints?.[group] ?? 0, scales[group]];
      let [part0, part1] = [0, 0];
      for (let c = from; c < to; c++) {
        const code = row[c] - zero;
        part0 += x0[c] * code;
        part1 += x1[c] * code;
      }
      sums[2 * r] += part0 * scale;
      sums[2 * r + 1] += part1 * scale;
    }
  }
  return sums;
}
