import { describe, expect, test } from 'vitest';
import { cholesky, choleskySolve } from '../../src/tensor/cholesky.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import { matrix, transpose } from '../../src/tensor/matrix.ts';
import { gaussian } from '../quantize/random.ts';

/** XᵀX + I of random X: positive definite. */
function definite(n: number, seed: number) {
  const x = gaussian(2 * n, n, seed);
  const product = gemm(transpose(x), x);
  for (let i = 0; i < n; i++) product.data[i * n + i] += 1;
  return product;
}

describe.each([1, 5, 64, 65, 150])('of size %i', (n) => {
  test('cholesky gives an upper triangle with RᵀR = A', async () => {
    const a = definite(n, n);
    const factor = (await cholesky(a))!;
    const product = gemm(transpose(factor), factor);
    const largest = Math.max(...a.data.map((value, i) => Math.abs(product.data[i] - value)));
    expect(largest).toBeLessThan(1e-5 * (2 * n + 1));
    expect(factor.data.every((value, i) => i % n >= Math.floor(i / n) || value === 0)).toBe(true);
  });

  test('choleskySolve undoes the product', async () => {
    const a = definite(n, n);
    const x = gaussian(n, 3, 9);
    const solved = await choleskySolve((await cholesky(a))!, gemm(a, x));
    expect(Math.max(...x.data.map((value, i) => Math.abs(solved.data[i] - value)))).toBeLessThan(1e-3);
  });
});

test('cholesky is null for a matrix that is not positive definite', async () => {
  expect(await cholesky(matrix(2, 2, Float32Array.of(1, 2, 2, 1)))).toBeNull();
  expect(await cholesky(matrix(1, 1, Float32Array.of(NaN)))).toBeNull();
});

test('cholesky uses the engine it is given', async () => {
  let calls = 0;
  await cholesky(definite(130, 1), (a, b) => {
    calls += 1;
    return gemm(a, b);
  });
  expect(calls).toBe(8);
});
