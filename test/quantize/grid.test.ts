import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { minCodeOf, roundToGrid } from '../../src/quantize/grid.ts';
import { roundHalfToEven } from '../../src/tensor/half.ts';

test('roundToGrid takes the nearest code, ties to even', () => {
  const codes = [-9, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.51, 9].map((value) =>
    roundToGrid(value / 4, 0.25, 7),
  );
  expect(codes).toEqual([-8, -2, -2, 0, 0, 2, 2, 3, 7]);
});

test('roundToGrid is rounding half to even within the range of codes', () => {
  const value = fc.double({ min: -1e6, max: 1e6, noNaN: true });
  const magnitude = fc.double({ min: 1e-6, max: 1e3, noNaN: true });
  const scale = fc.tuple(magnitude, fc.constantFrom(1, -1)).map(([size, sign]) => size * sign);
  fc.assert(
    fc.property(value, scale, fc.constantFrom(1, 3, 7, 127), (each, step, maxCode) => {
      const expected = Math.max(minCodeOf(maxCode), Math.min(maxCode, roundHalfToEven(each / step)));
      expect(roundToGrid(each, step, maxCode) === expected).toBe(true);
    }),
  );
});

test('grids of 3 and 4 bits use every code, those of 8 bits and the ternary one are symmetric', () => {
  expect([1, 3, 7, 127].map(minCodeOf)).toEqual([-1, -4, -8, -127]);
});
