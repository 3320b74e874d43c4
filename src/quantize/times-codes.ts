import type { Matrix } from '../tensor/matrix.ts';
import { matrix, rowOf } from '../tensor/matrix.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { inputsAtOnce } from './vector-kernels.ts';
import { fitsVectors, multiplyByVectors } from './vector-passes.ts';

/** x·Wᵀ, [x.rows, W.rows], with sums in float64 of float32 inputs. No weight is made, and a row of zeros costs nothing. */
export function timesCodes(x: Matrix, weight: QuantizedTensor): Matrix {
  const product = matrix(x.rows, weight.rows);
  const inputs = Array.from({ length: x.rows }, (_, row) => row).filter((row) =>
    rowOf(x, row).some((value) => value !== 0),
  );
  for (let i = 0; i < inputs.length; i += inputsAtOnce) {
    const some = inputs.slice(i, i + inputsAtOnce);
    const sums = multiply(
      some.map((row) => rowOf(x, row)),
      weight,
    );
    some.forEach((row, n) => {
      for (let r = 0; r < weight.rows; r++) product.data[row * weight.rows + r] = sums[r * some.length + n];
    });
  }
  return product;
}

/** [rows, inputs] */
function multiply(inputs: readonly Float32Array[], weight: QuantizedTensor): Float64Array {
  const { cols, groupSize } = weight;
  const size = Math.min(cols, groupSize);
  if (fitsVectors(cols, size)) return multiplyByVectors(inputs, weight, size);
  const sums = new Float64Array(weight.rows * inputs.length);
  for (let i = 0; i < sums.length; i++)
    sums[i] = rowProduct(inputs[i % inputs.length], weight, Math.floor(i / inputs.length));
  return sums;
}

/** An input times one row of a weight. */
function rowProduct(x: Float32Array, { cols, codes, groupSize, scales }: QuantizedTensor, r: number): number {
  const row = codes.subarray(r * cols, (r + 1) * cols);
  let [sum, group] = [0, r * Math.ceil(cols / groupSize)];
  for (let from = 0; from < cols; from += groupSize, group++) {
    const to = Math.min(from + groupSize, cols);
    let part = 0;
    for (let c = from; c < to; c++) part += x[c] * row[c];
    sum += part * scales[group];
  }
  return sum;
}
