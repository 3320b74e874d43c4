import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  blockSteps,
  dequantizeActivations,
  partsOf,
  quantizeActivations,
} from '../../src/quantize/activation.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { gaussian } from './random.ts';

/** Mean squared error of a grid. */
function errorOf(x: Matrix, block: number): number {
  const { data } = dequantizeActivations(quantizeActivations(x, { bits: 4, block }));
  return data.reduce((sum, value, i) => sum + (value - x.data[i]) ** 2, 0) / data.length;
}

describe('quantizeActivations', () => {
  test('spreads the codes from the smallest to the largest value of each token', () => {
    const tokens = matrix(2, 3, Float32Array.of(10, -5, 0.4, 0.1, -1.4, -0.26));
    const { codes, zeroPoints, scales } = quantizeActivations(tokens, { bits: 4, block: 3 });
    expect([...codes]).toEqual([15, 0, 5, 15, 0, 11]);
    expect([...zeroPoints]).toEqual([5, 14]);
    expect(scales[0]).toBeCloseTo(1, 4);
    expect(scales[1]).toBeCloseTo(0.1, 4);
  });

  test('gives each block of a token a whole multiple of the same step', () => {
    const tokens = matrix(1, 6, Float32Array.of(118, -117, 0, 15, 0, 1));
    const { codes, zeroPoints, scales } = quantizeActivations(tokens, { bits: 4, block: 2 });
    expect([...scales].map((scale) => Math.round(scale * 1e4) / 1e4)).toEqual([16, 2, 1]);
    expect([...zeroPoints]).toEqual([7, 0, 0]);
    expect([...codes]).toEqual([14, 0, 0, 8, 0, 1]);
  });

  test('loses less in blocks, most of all beside a token with outliers', () => {
    const x = gaussian(50, 192, 4);
    expect(errorOf(x, 32)).toBeLessThan(errorOf(x, 192) * 0.7);
    expect(errorOf(x, 16)).toBeLessThan(errorOf(x, 32) * 0.8);
    for (let t = 0; t < x.rows; t++) x.data[t * x.cols] *= 20;
    expect(errorOf(x, 16)).toBeLessThan(errorOf(x, 192) / 8);
  });

  test('zero stays zero, also in tokens of one sign and in tokens of zeros', () => {
    const tokens = matrix(3, 4, Float32Array.of(3, 0, 0, 0, 0, -2, 0, -9, 0, 0, 0, 0));
    for (const [bits, block] of [
      [3, 4],
      [4, 4],
      [8, 4],
      [3, 2],
      [4, 2],
    ] as const) {
      const quantized = quantizeActivations(tokens, { bits, block });
      const { data } = dequantizeActivations(quantized);
      expect(data.filter((value, i) => tokens.data[i] === 0 && value !== 0)).toHaveLength(0);
      expect(Math.min(...quantized.scales)).toBeGreaterThan(0);
    }
  });

  test('8 bits are symmetric around code 128', () => {
    const token = matrix(1, 3, Float32Array.of(127, -3.4, 0.4));
    const { codes, zeroPoints } = quantizeActivations(token, { bits: 8, block: 3 });
    expect([...codes]).toEqual([255, 125, 128]);
    expect([...zeroPoints]).toEqual([128]);
  });

  test('codes never leave their bits, and every value stays within one step', () => {
    const rows = fc.float32Array({ minLength: 12, maxLength: 12, noNaN: true, min: -1e5, max: 1e5 });
    const grids = fc.constantFrom([3, 6], [4, 6], [8, 6], [3, 3], [4, 2]);
    fc.assert(
      fc.property(rows, grids, (data, [bits, block]) => {
        const quantized = quantizeActivations(matrix(2, 6, data), { bits, block });
        expect(Math.max(...quantized.codes)).toBeLessThan(2 ** bits);
        dequantizeActivations(quantized).data.forEach((value, i) => {
          // At the ends of the grid both zero point and code are rounded.
          const scale = quantized.scales[Math.floor(i / block)];
          expect(Math.abs(value - data[i])).toBeLessThanOrEqual(scale * 1.0001);
        });
      }),
    );
  });

  test('in steps of its token, a code of any block fits in a signed byte', () => {
    for (const bits of [3, 4]) {
      const steps = blockSteps(bits);
      for (let low = 0; low <= steps; low += 0.5) {
        const token = matrix(1, 4, Float32Array.of(steps, -low, 0, -steps));
        const { codes, zeroPoints, scales } = quantizeActivations(token, { bits, block: 2 });
        const multiple = Math.round(scales[0]);
        expect(multiple).toBeLessThanOrEqual(Math.ceil((2 * steps) / partsOf(bits)));
        for (const code of codes.subarray(0, 2))
          expect(Math.abs(code - zeroPoints[0]) * multiple).toBeLessThanOrEqual(127);
      }
    }
  });

  test('the two ends never make one code too many, however they round', () => {
    for (let i = 0; i < 2000; i++) {
      const low = -(1 + i / 2000);
      const token = matrix(1, 4, Float32Array.of(low, 2.5 + low / 7, low / 3, 0.7));
      for (const block of [4, 2]) {
        const { codes } = quantizeActivations(token, { bits: 4, block });
        expect(codes[1]).toBeLessThanOrEqual(15);
        expect(codes[0]).toBe(0);
      }
    }
  });
});
