import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { gaussian } from './random.ts';

const weights = fc
  .record({ rows: fc.integer({ min: 1, max: 4 }), cols: fc.integer({ min: 1, max: 40 }) })
  .chain(({ rows, cols }) =>
    fc
      .float32Array({ minLength: rows * cols, maxLength: rows * cols, noNaN: true, min: -1e6, max: 1e6 })
      .map((data) => matrix(rows, cols, data)),
  );
const grids = fc.record({ bits: fc.constantFrom(2, 3, 4, 8), groupSize: fc.constantFrom(1, 3, 16, 32, 64) });

describe('quantizeRtn', () => {
  test('rounds to the nearest code, ties to even, with the largest weight at the end of the grid', () => {
    const tensor = quantizeRtn(matrix(1, 8, Float32Array.of(7, 0.5, 1.5, 2.5, -0.5, -1.5, 0.51, -7)), {
      bits: 4,
      groupSize: 8,
    });
    expect([...tensor.codes]).toEqual([7, 0, 2, 2, 0, -2, 1, -7]);
    expect([...tensor.scales]).toEqual([1]);
  });

  test('gives every group its own scale, the short last one too', () => {
    const tensor = quantizeRtn(matrix(1, 5, Float32Array.of(7, 1, 0, 14, 70)), { bits: 4, groupSize: 2 });
    expect([...tensor.scales]).toEqual([1, 2, 10]);
    expect([...tensor.codes]).toEqual([7, 1, 0, 7, 7]);
  });

  test('keeps a group of zeros with the smallest scale', () => {
    const tensor = quantizeRtn(matrix(2, 2, Float32Array.of(0, 0, 3, 0)), { bits: 3, groupSize: 2 });
    expect([...tensor.scales]).toEqual([2 ** -14, 1]);
    expect([...tensor.codes]).toEqual([0, 0, 3, 0]);
  });

  test('no weight moves by more than half a step', () => {
    fc.assert(
      fc.property(weights, grids, (weight, { bits, groupSize }) => {
        const tensor = quantizeRtn(weight, { bits, groupSize });
        const groups = Math.ceil(weight.cols / groupSize);
        const restored = dequantize(tensor).data;
        weight.data.forEach((value, i) => {
          const group = Math.floor(i / weight.cols) * groups + Math.floor((i % weight.cols) / groupSize);
          expect(Math.abs(value - restored[i])).toBeLessThanOrEqual(tensor.scales[group] * 0.50001);
        });
      }),
    );
  });

  test('is unchanged by quantizing its own result again', () => {
    const tensor = quantizeRtn(gaussian(4, 48, 1), { bits: 4, groupSize: 16 });
    expect(quantizeRtn(dequantize(tensor), { bits: 4, groupSize: 16 }).codes).toEqual(tensor.codes);
  });

  test.each([NaN, Infinity, -Infinity])('refuses %s and says where it is', (bad) => {
    const weight = matrix(2, 3, Float32Array.of(1, 2, 3, 4, bad, 6));
    expect(() => quantizeRtn(weight, { bits: 4, groupSize: 3 })).toThrow(
      expect.objectContaining({ code: 'WEIGHT_NOT_FINITE', where: 'row 1, column 1 of a 2x3 weight' }),
    );
  });
});
