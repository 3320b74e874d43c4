import { describe, expect, test } from 'vitest';
import { ternaryGrid } from '../../src/quantize/grid.ts';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { quantizeTernary } from '../../src/quantize/ternary.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { absMeanScale } from './absmean.ts';
import { gaussian } from './random.ts';
import { relativeError } from './relative-error.ts';

/** Least Σ h·(w − αT)² over all 3^m codes T, each with its best α. */
function bruteForce(weights: Float32Array, h: ArrayLike<number>): number {
  let least = Infinity;
  for (let combination = 0; combination < 3 ** weights.length; combination++) {
    const codes = Array.from(weights, (_, i) => (Math.floor(combination / 3 ** i) % 3) - 1);
    const sum = (term: (i: number) => number) => codes.reduce((total, _, i) => total + h[i] * term(i), 0);
    const norm = sum((i) => codes[i] ** 2);
    const alpha = norm > 0 ? sum((i) => weights[i] * codes[i]) / norm : 0;
    least = Math.min(
      least,
      sum((i) => (weights[i] - alpha * codes[i]) ** 2),
    );
  }
  return least;
}

describe('quantizeTernary', () => {
  test.each(['plain', 'weighted'])('is the optimum over all codes, %s', (kind) => {
    for (let seed = 0; seed < 40; seed++) {
      const weight = gaussian(1, 7, seed);
      const h =
        kind === 'plain'
          ? new Float64Array(7).fill(1)
          : Float64Array.from(gaussian(1, 7, seed + 500).data, (x) => x ** 4);
      const restored = dequantize(quantizeTernary(weight, { groupSize: 7, hessianDiagonal: h })).data;
      const error = h.reduce((sum, share, i) => sum + share * (weight.data[i] - restored[i]) ** 2, 0);
      const least = bruteForce(weight.data, h);
      // The best scale is rounded to float16, by at most one part in 2^11.
      const norm = h.reduce((sum, share, i) => sum + share * weight.data[i] ** 2, 0);
      expect(error).toBeLessThanOrEqual(least + norm * 2 ** -22);
    }
  });

  test('stores -1, 0, 1 in 2 bits, one scale for each group', () => {
    const tensor = quantizeTernary(gaussian(3, 80, 1), { groupSize: 32 });
    expect(tensor).toMatchObject({ bits: 2, groupSize: 32, method: 'ternary' });
    expect(new Set(tensor.codes)).toEqual(new Set([-1, 0, 1]));
    expect(tensor.scales).toHaveLength(9);
  });

  test('loses 43.2 % on Gaussian groups of 128, absmean 51 % (known figures)', () => {
    const weight = gaussian(400, 128, 2);
    expect(relativeError(weight, quantizeTernary(weight, { groupSize: 128 }))).toBeCloseTo(0.432, 2);
    const absmean = quantizeRtn(weight, {
      bits: 2,
      grid: ternaryGrid,
      groupSize: 128,
      fit: absMeanScale,
    });
    expect(relativeError(weight, absmean)).toBeCloseTo(0.51, 2);
  });

  test('a group of zeros stays zero with the smallest scale', () => {
    const tensor = quantizeTernary(matrix(1, 4), { groupSize: 4 });
    expect([...tensor.codes]).toEqual([0, 0, 0, 0]);
    expect([...tensor.scales]).toEqual([2 ** -14]);
  });

  test('a group without any activation is fitted on its weights alone', () => {
    const weight = gaussian(2, 16, 3);
    const dead = quantizeTernary(weight, { groupSize: 16, hessianDiagonal: new Float32Array(16) });
    expect(dead).toEqual(quantizeTernary(weight, { groupSize: 16 }));
  });

  test('columns without activation do not set the scale, but get their nearest code', () => {
    const weight = matrix(1, 4, Float32Array.of(1, -1, 1, 50));
    const tensor = quantizeTernary(weight, { groupSize: 4, hessianDiagonal: Float32Array.of(2, 2, 2, 0) });
    expect([...tensor.scales]).toEqual([1]);
    expect([...tensor.codes]).toEqual([1, -1, 1, 1]);
  });
});
