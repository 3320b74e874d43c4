import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  floatToBfloat,
  floatToHalf,
  halfToFloat,
  roundHalfToEven,
  roundToHalf,
} from '../../src/tensor/half.ts';

/** bfloat16 bits to a number. */
function bfloatToFloat(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0];
}

/** All 65536 patterns; NaN has many, of which one comes back. */
const patterns = Array.from({ length: 65536 }, (_, bits) => bits);
const anyFloat = fc.float({ noNaN: true });

/** Of the finite 16-bit numbers, the one nearest to `value`; of two, the one with even bits. */
function nearest(value: number, decode: (bits: number) => number, infinity: number): number {
  // Magnitudes grow with their bits. The value of infinity counts as the next power of two.
  const limit = decode(infinity - 1) + (decode(infinity - 1) - decode(infinity - 2));
  const size = (bits: number): number => (bits === infinity ? limit : decode(bits));
  let [low, high] = [0, infinity];
  const magnitude = Math.min(Math.abs(value), limit);
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (size(middle) <= magnitude) low = middle;
    else high = middle;
  }
  const [below, above] = [magnitude - size(low), size(high) - magnitude];
  const isHigh = above < below || (above === below && high % 2 === 0);
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  return sign | (isHigh ? high : low);
}

test('a number rounded to half is the one its bits stand for; beyond the range it stays', () => {
  fc.assert(
    fc.property(fc.oneof(anyFloat, fc.double({ min: -70000, max: 70000, noNaN: true })), (value) => {
      const expected = Math.abs(value) <= 65504 ? halfToFloat(floatToHalf(value)) : Math.fround(value);
      expect(roundToHalf(value)).toBe(expected);
    }),
  );
});

describe.each([
  { name: 'half', decode: halfToFloat, encode: floatToHalf, infinity: 0x7c00 },
  { name: 'bfloat', decode: bfloatToFloat, encode: floatToBfloat, infinity: 0x7f80 },
])('$name', ({ decode, encode, infinity }) => {
  test('comes back for all 65536 patterns', () => {
    const wrong = patterns.filter((bits) => {
      const value = decode(bits);
      return Number.isNaN(value) ? !Number.isNaN(decode(encode(value))) : encode(value) !== bits;
    });
    expect(wrong).toEqual([]);
    expect(patterns.filter((bits) => Number.isNaN(decode(bits)))).toHaveLength(2 * (0x8000 - infinity - 1));
  });

  test('rounds to the nearest number, ties to even', () => {
    const ties = fc
      .integer({ min: 0, max: infinity - 2 })
      .map((bits) => Math.fround((decode(bits) + decode(bits + 1)) / 2));
    fc.assert(
      fc.property(
        fc.oneof(
          anyFloat,
          ties,
          ties.map((tie) => -tie),
        ),
        (value) => {
          expect(encode(value)).toBe(nearest(value, decode, infinity));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

test.each([
  [0x3c00, 1],
  [0xc000, -2],
  [0x3555, 0.333251953125],
  [0x7bff, 65504],
  [0x0400, 2 ** -14],
  [0x0001, 2 ** -24],
  [0x83ff, -1023 * 2 ** -24],
  [0xfc00, -Infinity],
])('half %i is %d', (bits, value) => {
  expect(halfToFloat(bits)).toBe(value);
});

test.each([
  [0x3f80, 1],
  [0xc000, -2],
  [0x3eab, 0.333984375],
  [0x0001, 2 ** -133],
  [0xff80, -Infinity],
])('bfloat %i is %d', (bits, value) => {
  expect(bfloatToFloat(bits)).toBe(value);
});

describe('roundHalfToEven', () => {
  test.each([
    [0.5, 0],
    [1.5, 2],
    [2.5, 2],
    [-0.5, -0],
    [-1.5, -2],
    [-2.5, -2],
    [2.4999, 2],
    [-2.5001, -3],
    [7, 7],
  ])('takes %d to %d', (value, expected) => {
    expect(roundHalfToEven(value) + 0).toBe(expected + 0);
  });

  test('is the nearest integer', () => {
    fc.assert(
      fc.property(fc.double({ min: -1e9, max: 1e9, noNaN: true }), (value) => {
        const rounded = roundHalfToEven(value);
        expect(Number.isInteger(rounded)).toBe(true);
        expect(Math.abs(rounded - value)).toBeLessThanOrEqual(0.5);
      }),
    );
  });
});
