import { expect, test } from 'vitest';
import { gemm } from '../../src/tensor/gemm.ts';
import { gaussian } from '../quantize/random.ts';

test.each([
  [1, 1, 1],
  [3, 4, 5],
  [7, 9, 2],
  [5, 0, 3],
])('gemm of [%i, %i] by [.., %i] equals the sum of products', (m, k, n) => {
  const a = gaussian(m, k, 1);
  const b = gaussian(k, n, 2);
  const product = gemm(a, b);
  expect([product.rows, product.cols]).toEqual([m, n]);
  for (let r = 0; r < m; r++) {
    for (let c = 0; c < n; c++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += a.data[r * k + i] * b.data[i * n + c];
      expect(product.data[r * n + c]).toBeCloseTo(sum, 5);
    }
  }
});
