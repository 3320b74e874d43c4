import { expect, test } from 'vitest';
import { gridOf } from '../../src/quantize/grid.ts';
import { absMaxScale, fitScales, safeScale } from '../../src/quantize/scale-fit.ts';
import { matrix } from '../../src/tensor/matrix.ts';

test('fitScales hands each group its weights and its share of the importance', () => {
  const weight = matrix(2, 3, Float32Array.of(1, 2, 3, 4, 5, 6));
  const importance = Float32Array.of(10, 20, 30);
  const seen: number[][] = [];
  const scales = fitScales(weight, {
    groupSize: 2,
    grid: gridOf(4),
    importance,
    fit: (weights, shares, { most }) => seen.push([...weights, ...Array.from(shares!), most]),
  });
  expect(seen).toEqual([
    [1, 2, 10, 20, 7],
    [3, 30, 7],
    [4, 5, 10, 20, 7],
    [6, 30, 7],
  ]);
  expect([...scales]).toEqual([1, 2, 3, 4]);
});

test('absMaxScale reaches the largest magnitude', () => {
  expect(absMaxScale(Float32Array.of(-14, 3), null, gridOf(4))).toBe(2);
});

test.each([
  [0, 2 ** -14],
  [NaN, 2 ** -14],
  [1e-300, 2 ** -126],
  [0.1, 0.0999755859375],
  [65504, 65504],
  [70000.1, Math.fround(70000.1)],
  [2 ** -14, 2 ** -14],
  [1e-5, Math.fround(1e-5)],
])('safeScale of %d is %d', (scale, safe) => expect(safeScale(scale)).toBe(safe));
