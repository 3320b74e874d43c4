import { describe, expect, test } from 'vitest';
import { quantizeGptq } from '../../src/quantize/gptq.ts';
import { ortGemm } from '../../src/runtime/ort-gemm.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import { correlatedHessian } from '../quantize/hessian-of.ts';
import { gaussian } from '../quantize/random.ts';

describe('ortGemm', () => {
  test.each([
    [1, 1, 1],
    [64, 64, 64],
    [64, 65, 64],
    [1, 1024, 512],
    [200, 130, 170],
  ])('of [%i, %i] by [.., %i] equals its twin', async (m, k, n) => {
    const a = gaussian(m, k, 1);
    const b = gaussian(k, n, 2);
    const expected = gemm(a, b);
    const product = await ortGemm(a, b);
    expect([product.rows, product.cols]).toEqual([m, n]);
    product.data.forEach((value, i) =>
      expect(Math.abs(value - expected.data[i])).toBeLessThan(1e-5 * Math.sqrt(k) * 4),
    );
  });

  test('gives the same bits each time, and leaves its inputs alone', async () => {
    const [a, b] = [gaussian(96, 128, 3), gaussian(128, 64, 4)];
    const [first, second] = [await ortGemm(a, b), await ortGemm(a, b)];
    expect(first.data).toEqual(second.data);
    expect(a.data).toEqual(gaussian(96, 128, 3).data);
    expect(b.data).toEqual(gaussian(128, 64, 4).data);
  });

  test('lets GPTQ settle the same codes as its twin, but for ties', async () => {
    const weight = gaussian(160, 192, 5);
    const hessian = correlatedHessian(192, 800, 6);
    const options = { bits: 4, groupSize: 192 } as const;
    const plain = await quantizeGptq(weight, hessian, options);
    const fast = await quantizeGptq(weight, hessian, { ...options, gemm: ortGemm });
    const different = fast.codes.filter((code, i) => code !== plain.codes[i]).length;
    expect(different / fast.codes.length).toBeLessThan(1e-3);
  });
});
