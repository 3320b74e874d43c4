import { describe, expect, test } from 'vitest';
import { leastErrorScales } from '../../src/quantize/least-error-scales.ts';
import { schemeOf } from '../../src/quantize/scheme.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { gaussian, uniform } from './random.ts';

const channels = 6;
const next = uniform(5);
const positive = (): Float64Array => Float64Array.from({ length: channels }, () => 0.1 + 10 * next());
const smoothed = { energy: positive(), exposure: positive(), weight: gaussian(8, channels, 3) };

const steps = (bits: number | null): number => (bits === null ? Infinity : 2 ** bits - 1);

/** The error that the scales are said to make least, summed as it is defined. */
function error(scales: ArrayLike<number>, activationBits: number | null, weightBits: number): number {
  const { energy, exposure, weight } = smoothed;
  let [rounded, read] = [0, 0];
  for (let j = 0; j < channels; j++) {
    const cost = energy[j] / steps(activationBits) ** 2 + exposure[j] / steps(weightBits) ** 2;
    rounded += cost / scales[j] ** 2;
    for (let r = 0; r < weight.rows; r++) read += (scales[j] * weight.data[r * channels + j]) ** 2;
  }
  return rounded * read;
}

describe('leastErrorScales', () => {
  test.each([
    ['w4a4', 4, 4],
    ['w2a4', 4, 2],
    ['w4a16', null, 4],
  ] as const)('of %s: any other scales leave more error', (scheme, activationBits, weightBits) => {
    const scales = leastErrorScales(smoothed, schemeOf(scheme));
    const least = error(scales, activationBits, weightBits);
    for (let j = 0; j < channels; j++) {
      for (const factor of [0.9, 1.1]) {
        const moved = scales.map((scale, i) => (i === j ? scale * factor : scale));
        expect(error(moved, activationBits, weightBits)).toBeGreaterThan(least);
      }
    }
  });

  test('are of geometric mean 1, and 1 where a channel or its weights are dead', () => {
    const scales = leastErrorScales(smoothed, schemeOf('w4a4'));
    expect(scales.reduce((sum, scale) => sum + Math.log(scale), 0)).toBeCloseTo(0, 5);
    const dead = leastErrorScales(
      {
        energy: Float64Array.of(0, 4, 4, 64),
        exposure: Float64Array.of(1, 1, 1, 16),
        weight: matrix(1, 4, Float32Array.of(1, 0, 1, 1)),
      },
      schemeOf('w4a4'),
    );
    expect([...dead]).toEqual([1, 1, expect.closeTo(0.5 ** 0.5, 5), expect.closeTo(2 ** 0.5, 5)]);
  });
});
