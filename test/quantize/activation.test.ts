import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dequantizeActivations, quantizeActivations } from '../../src/quantize/activation.ts';
import { matrix } from '../../src/tensor/matrix.ts';

describe('quantizeActivations', () => {
  test('spreads the codes from the smallest to the largest value of each token', () => {
    const tokens = matrix(2, 3, Float32Array.of(10, -5, 0.4, 0.1, -1.4, -0.26));
    const { codes, zeroPoints, scales } = quantizeActivations(tokens, { bits: 4 });
    expect([...codes]).toEqual([15, 0, 5, 15, 0, 11]);
    expect([...zeroPoints]).toEqual([5, 14]);
    expect(scales[0]).toBeCloseTo(1, 4);
    expect(scales[1]).toBeCloseTo(0.1, 4);
  });

  test('zero stays zero, also in tokens of one sign and in tokens of zeros', () => {
    const tokens = matrix(3, 2, Float32Array.of(3, 0, 0, -2, 0, 0));
    for (const bits of [3, 4, 8]) {
      const quantized = quantizeActivations(tokens, { bits });
      const { data } = dequantizeActivations(quantized);
      expect([data[1], data[2], data[4], data[5]].map(Math.abs)).toEqual([0, 0, 0, 0]);
      expect(Math.min(...quantized.scales)).toBeGreaterThan(0);
    }
  });

  test('8 bits are symmetric around code 128', () => {
    const { codes, zeroPoints } = quantizeActivations(matrix(1, 3, Float32Array.of(127, -3.4, 0.4)), {
      bits: 8,
    });
    expect([...codes]).toEqual([255, 125, 128]);
    expect([...zeroPoints]).toEqual([128]);
  });

  test('codes never leave their bits, and every value stays within one step', () => {
    const rows = fc.float32Array({ minLength: 12, maxLength: 12, noNaN: true, min: -1e5, max: 1e5 });
    fc.assert(
      fc.property(rows, fc.constantFrom(3, 4, 8), (data, bits) => {
        const quantized = quantizeActivations(matrix(2, 6, data), { bits });
        expect(Math.max(...quantized.codes)).toBeLessThan(2 ** bits);
        dequantizeActivations(quantized).data.forEach((value, i) => {
          // At the ends of the grid both zero point and code are rounded.
          expect(Math.abs(value - data[i])).toBeLessThanOrEqual(quantized.scales[Math.floor(i / 6)] * 1.0001);
        });
      }),
    );
  });

  test('the ends of a clipped grid take what lies beyond it', () => {
    const tokens = matrix(1, 4, Float32Array.of(10, -5, 0.4, 3.2));
    const { codes, zeroPoints, scales } = quantizeActivations(tokens, { bits: 4, clip: 0.8 });
    expect(scales[0]).toBeCloseTo(0.8, 4);
    expect([...zeroPoints]).toEqual([5]);
    expect([...codes]).toEqual([15, 0, 5, 9]);
    const symmetric = quantizeActivations(tokens, { bits: 8, clip: 0.5 });
    expect([...symmetric.codes]).toEqual([255, 1, 138, 209]);
  });

  test('the two ends never make one code too many, however they round', () => {
    for (let i = 0; i < 2000; i++) {
      const low = -(1 + i / 2000);
      const { codes } = quantizeActivations(matrix(1, 2, Float32Array.of(low, 2.5 + low / 7)), { bits: 4 });
      expect(codes[1]).toBeLessThanOrEqual(15);
      expect(codes[0]).toBe(0);
    }
  });
});
