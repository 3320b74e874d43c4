import { describe, expect, test } from 'vitest';
import { clipScale } from '../../src/quantize/clip-scale.ts';
import { gridOf, ternaryGrid, type Grid } from '../../src/quantize/grid.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { absMaxScale } from '../../src/quantize/scale-fit.ts';
import { gaussian } from './random.ts';
import { relativeError } from './relative-error.ts';

/** Σ importance · (w − ŵ)², written out. */
function errorAt(scale: number, weights: Float32Array, importance: number[] | null, { least, most }: Grid) {
  return weights.reduce((sum, weight, i) => {
    const code = Math.max(least, Math.min(most, Math.round(weight / scale)));
    return sum + (importance?.[i] ?? 1) * (weight - code * scale) ** 2;
  }, 0);
}

describe('clipScale', () => {
  test.each([ternaryGrid, gridOf(2), gridOf(3), gridOf(4)])(
    'is as good as a very fine search on %o',
    (grid) => {
      for (let seed = 0; seed < 20; seed++) {
        const weights = gaussian(1, 24, seed).data;
        const importance =
          seed % 2 ? Array.from(gaussian(1, 24, seed + 99).data, (value) => value ** 4) : null;
        const absMax = absMaxScale(weights, null, grid);
        const fine = Array.from({ length: 8000 }, (_, i) =>
          Math.min(
            errorAt(absMax * (1 - i / 8001), weights, importance, grid),
            errorAt(absMax * (i / 8001 - 1), weights, importance, grid),
          ),
        );
        const found = errorAt(clipScale(weights, importance, grid), weights, importance, grid);
        expect(found).toBeLessThanOrEqual(1.1 * Math.min(...fine));
        expect(found).toBeLessThanOrEqual(errorAt(absMax, weights, importance, grid));
      }
    },
  );

  test('is no worse than absmax at 8 bits', () => {
    const weights = gaussian(1, 64, 1).data;
    const found = errorAt(clipScale(weights, null, gridOf(8)), weights, null, gridOf(8));
    expect(found).toBeLessThanOrEqual(
      errorAt(absMaxScale(weights, null, gridOf(8)), weights, null, gridOf(8)),
    );
  });

  test('takes a negative scale where the largest weights are positive', () => {
    const weights = Float32Array.of(8, 7, -3, 5);
    expect(clipScale(weights, null, gridOf(4))).toBe(-1);
    expect(
      clipScale(
        weights.map((weight) => -weight),
        null,
        gridOf(4),
      ),
    ).toBe(1);
  });

  test('gives the smallest scale for a group of zeros', () => {
    expect(clipScale(new Float32Array(4), null, gridOf(4))).toBe(2 ** -14);
  });

  test('looks only at weights that matter', () => {
    expect(clipScale(Float32Array.of(7, -3, 1, 9.7), [1, 1, 1, 0], gridOf(4))).toBeCloseTo(1, 5);
  });

  test('takes a quarter off the error of 3-bit Gaussian rows', () => {
    const weight = gaussian(50, 256, 3);
    const options = { bits: 3, groupSize: 256 } as const;
    const clipped = relativeError(weight, quantizeRtn(weight, { ...options, fit: clipScale }));
    expect(clipped).toBeLessThan(0.75 * relativeError(weight, quantizeRtn(weight, options)));
  });
});
