import { expect, test } from 'vitest';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import { transpose } from '../../src/tensor/matrix.ts';
import { outputError } from './output-error.ts';
import { gaussian } from './random.ts';

test('outputError is the squared difference of the outputs over all tokens', async () => {
  const [x, weight] = [gaussian(20, 8, 1), gaussian(5, 8, 2)];
  const tensor = quantizeRtn(weight, { bits: 3, groupSize: 4 });
  const before = gemm(x, transpose(weight)).data;
  const after = gemm(x, transpose(dequantize(tensor))).data;
  const expected = before.reduce((sum, value, i) => sum + (value - after[i]) ** 2, 0);
  expect(await outputError(weight, tensor, gemm(transpose(x), x))).toBeCloseTo(expected, 3);
});
