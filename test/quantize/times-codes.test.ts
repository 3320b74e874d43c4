import { expect, test } from 'vitest';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { timesCodes } from '../../src/quantize/times-codes.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { gaussian } from './random.ts';

test.each([
  ['in whole vectors', 64, 32],
  ['one scale per row', 64, 64],
  ['in groups that are cut short', 50, 16],
])('is the product with the weights that codes stand for, %s', (_name, cols, groupSize) => {
  const weight = quantizeRtn(gaussian(9, cols, 1), { bits: 4, groupSize });
  const x = gaussian(3, cols, 2);
  x.data.fill(0, cols, 2 * cols);
  const { data } = dequantize(weight);
  const expected = matrix(3, 9);
  for (let t = 0; t < 3; t++)
    for (let r = 0; r < 9; r++)
      for (let c = 0; c < cols; c++) expected.data[t * 9 + r] += x.data[t * cols + c] * data[r * cols + c];
  const product = timesCodes(x, weight);
  expect([product.rows, product.cols]).toEqual([3, 9]);
  product.data.forEach((value, i) => expect(value).toBeCloseTo(expected.data[i], 4));
});
