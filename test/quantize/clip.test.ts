import { describe, expect, test } from 'vitest';
import { clipScale } from '../../src/quantize/clip.ts';
import { minCodeOf } from '../../src/quantize/grid.ts';
import { relativeError } from './relative-error.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { absMaxScale } from '../../src/quantize/scale-fit.ts';
import { gaussian } from './random.ts';

/** Σ importance · (w − ŵ)², written out. */
function errorAt(scale: number, weights: Float32Array, importance: number[] | null, maxCode: number) {
  return weights.reduce((sum, weight, i) => {
    const code = Math.max(minCodeOf(maxCode), Math.min(maxCode, Math.round(weight / scale)));
    return sum + (importance?.[i] ?? 1) * (weight - code * scale) ** 2;
  }, 0);
}

describe('clipScale', () => {
  test.each([1, 3, 7])('is as good as a very fine search, codes up to %i', (maxCode) => {
    for (let seed = 0; seed < 20; seed++) {
      const weights = gaussian(1, 24, seed).data;
      const importance = seed % 2 ? Array.from(gaussian(1, 24, seed + 99).data, (value) => value ** 4) : null;
      const absMax = absMaxScale(weights, null, maxCode);
      const fine = Array.from({ length: 8000 }, (_, i) =>
        Math.min(
          errorAt(absMax * (1 - i / 8001), weights, importance, maxCode),
          errorAt(absMax * (i / 8001 - 1), weights, importance, maxCode),
        ),
      );
      const found = errorAt(clipScale(weights, importance, maxCode), weights, importance, maxCode);
      expect(found).toBeLessThanOrEqual(1.1 * Math.min(...fine));
      expect(found).toBeLessThanOrEqual(errorAt(absMax, weights, importance, maxCode));
    }
  });

  test('is no worse than absmax at 8 bits', () => {
    const weights = gaussian(1, 64, 1).data;
    const found = errorAt(clipScale(weights, null, 127), weights, null, 127);
    expect(found).toBeLessThanOrEqual(errorAt(absMaxScale(weights, null, 127), weights, null, 127));
  });

  test('takes a negative scale where the largest weights are positive', () => {
    const weights = Float32Array.of(8, 7, -3, 5);
    expect(clipScale(weights, null, 7)).toBe(-1);
    expect(
      clipScale(
        weights.map((weight) => -weight),
        null,
        7,
      ),
    ).toBe(1);
  });

  test('gives 1 for a group of zeros', () => {
    expect(clipScale(new Float32Array(4), null, 7)).toBe(1);
  });

  test('looks only at weights that matter', () => {
    expect(clipScale(Float32Array.of(7, -3, 1, 9.7), [1, 1, 1, 0], 7)).toBeCloseTo(1, 5);
  });

  test('takes a quarter off the error of 3-bit Gaussian rows', () => {
    const weight = gaussian(50, 256, 3);
    const options = { bits: 3, groupSize: 256 } as const;
    const clipped = relativeError(weight, quantizeRtn(weight, { ...options, fit: clipScale }));
    expect(clipped).toBeLessThan(0.75 * relativeError(weight, quantizeRtn(weight, options)));
  });
});
