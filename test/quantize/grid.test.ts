import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { gridOf, roundToGrid, ternaryGrid } from '../../src/quantize/grid.ts';
import { roundHalfToEven } from '../../src/tensor/half.ts';

test('roundToGrid takes the nearest code, ties to even', () => {
  const codes = [-9, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.51, 9].map((value) =>
    roundToGrid(value / 4, 0.25, gridOf(4)),
  );
  expect(codes).toEqual([-8, -2, -2, 0, 0, 2, 2, 3, 7]);
});

test('roundToGrid is rounding half to even within the range of codes', () => {
  const value = fc.double({ min: -1e6, max: 1e6, noNaN: true });
  const magnitude = fc.double({ min: 1e-6, max: 1e3, noNaN: true });
  const scale = fc.tuple(magnitude, fc.constantFrom(1, -1)).map(([size, sign]) => size * sign);
  fc.assert(
    fc.property(
      value,
      scale,
      fc.constantFrom(ternaryGrid, gridOf(2), gridOf(4), gridOf(8)),
      (each, step, grid) => {
        const expected = Math.max(grid.least, Math.min(grid.most, roundHalfToEven(each / step)));
        expect(roundToGrid(each, step, grid) === expected).toBe(true);
      },
    ),
  );
});

test('grids of 2 to 4 bits use every code, those of 8 bits are symmetric', () => {
  expect(([2, 3, 4, 8] as const).map(gridOf)).toEqual([
    { least: -2, most: 1 },
    { least: -4, most: 3 },
    { least: -8, most: 7 },
    { least: -127, most: 127 },
  ]);
});
