import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dequantizeActivations, quantizeActivations } from '../../src/quantize/activation.ts';
import { matrix } from '../../src/tensor/matrix.ts';

describe('quantizeActivations', () => {
  test('scales every token by its own largest magnitude', () => {
    const tokens = matrix(2, 3, Float32Array.of(7, -3.4, 0.4, 0.1, -0.7, 0.26));
    const { codes, scales } = quantizeActivations(tokens, { bits: 4 });
    expect([...codes]).toEqual([7, -3, 0, 1, -7, 3]);
    expect(scales[0]).toBeCloseTo(1, 6);
    expect(scales[1]).toBeCloseTo(0.1, 6);
  });

  test('a token of zeros gives zeros, not NaN', () => {
    const quantized = quantizeActivations(matrix(1, 3), { bits: 8 });
    expect([...dequantizeActivations(quantized).data]).toEqual([0, 0, 0]);
    expect(quantized.scales[0]).toBeGreaterThan(0);
  });

  test('a clip ratio saturates the largest value and refines the others', () => {
    const tokens = matrix(1, 3, Float32Array.of(10, 3.3, -1.1));
    const quantized = quantizeActivations(tokens, { bits: 4, clipRatio: 0.5 });
    expect(quantized.scales[0]).toBeCloseTo(5 / 7, 6);
    expect([...quantized.codes]).toEqual([7, 5, -2]);
  });

  test('every value stays within half a step of its token', () => {
    const rows = fc.float32Array({ minLength: 12, maxLength: 12, noNaN: true, min: -1e5, max: 1e5 });
    fc.assert(
      fc.property(rows, fc.constantFrom(3, 4, 8), (data, bits) => {
        const quantized = quantizeActivations(matrix(2, 6, data), { bits });
        dequantizeActivations(quantized).data.forEach((value, i) => {
          expect(Math.abs(value - data[i])).toBeLessThanOrEqual(quantized.scales[Math.floor(i / 6)] * 0.5001);
        });
      }),
    );
  });
});
