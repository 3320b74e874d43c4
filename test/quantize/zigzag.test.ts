import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { zigzagPermutation } from '../../src/quantize/zigzag.ts';

test('deals the channels in a snake', () => {
  expect([...zigzagPermutation([1, 8, 3, 6, 5, 4, 7, 2], 4)]).toEqual([1, 4, 5, 0, 6, 3, 2, 7]);
});

test('is a permutation whose block sums differ by less than the largest channel', () => {
  const input = fc
    .tuple(fc.integer({ min: 1, max: 6 }), fc.constantFrom(1, 2, 4, 8))
    .chain(([blocks, block]) =>
      fc.record({
        block: fc.constant(block),
        absMax: fc.array(fc.double({ min: 0, max: 100, noNaN: true }), {
          minLength: blocks * block,
          maxLength: blocks * block,
        }),
      }),
    );
  fc.assert(
    fc.property(input, ({ absMax, block }) => {
      const permutation = zigzagPermutation(absMax, block);
      expect([...permutation].toSorted((a, b) => a - b)).toEqual(absMax.map((_, j) => j));
      const sums = Array.from({ length: absMax.length / block }, (_, b) =>
        permutation.slice(b * block, (b + 1) * block).reduce((sum, j) => sum + absMax[j], 0),
      );
      expect(Math.max(...sums) - Math.min(...sums)).toBeLessThanOrEqual(Math.max(...absMax) + 1e-9);
    }),
  );
});
