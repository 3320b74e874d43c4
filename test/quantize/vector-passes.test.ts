import { describe, expect, test } from 'vitest';
import { roundToGrid } from '../../src/quantize/grid.ts';
import {
  fitsVectors,
  largestByVectors,
  multiplyByVectors,
  roundByVectors,
} from '../../src/quantize/vector-passes.ts';
import { roundToHalf } from '../../src/tensor/half.ts';
import { gaussian, uniform } from './random.ts';

const everything = { least: -Infinity, most: Infinity };

/** Small, and of several chunks with a short last one. */
const sizes = [
  [1, 16, 16],
  [3, 96, 32],
  [67, 4096, 32],
  [5, 1024, 1024],
  [130, 1040, 16],
] as const;

describe.each(sizes)('of %d rows of %d weights in groups of %d', (rows, cols, groupSize) => {
  const { data } = gaussian(rows, cols, 1);
  const groups = Array.from({ length: data.length / groupSize }, (_, g) =>
    data.subarray(g * groupSize, (g + 1) * groupSize),
  );
  const scales = Float32Array.from(groups, (_, g) => 0.1 + (g % 7) / 20);
  // Exact ties of either parity beside the others.
  [0.5, 1.5, -0.5, -2.5, 0].forEach((steps, i) => (data[i] = steps * scales[0]));
  const codes = roundByVectors(data, scales, groupSize);

  test('the largest magnitudes', () => {
    const largest = new Float32Array(largestByVectors(data, groupSize).buffer);
    const wrong = groups.findIndex((group, g) => largest[g] !== Math.max(...group.map(Math.abs)));
    expect([largest.length, wrong]).toEqual([groups.length, -1]);
  });

  test('codes are rounded as single weights are', () => {
    const wrong = data.findIndex(
      (weight, i) => codes[i] !== roundToGrid(weight, scales[Math.floor(i / groupSize)], everything),
    );
    expect([codes.length, wrong]).toEqual([data.length, -1]);
  });

  test.each([1, 2, 3])('products of %d inputs', (count) => {
    const inputs = Array.from({ length: count }, (_, i) => gaussian(1, cols, 2 + i).data);
    const sums = multiplyByVectors(inputs, { codes, scales }, groupSize);
    const expected = Array.from({ length: rows }, (_, r) =>
      inputs.map((input) =>
        input.reduce((sum, value, c) => {
          const i = r * cols + c;
          return sum + value * codes[i] * scales[Math.floor(i / groupSize)];
        }, 0),
      ),
    ).flat();
    expect(sums.length).toBe(expected.length);
    expected.forEach((sum, i) => expect(sums[i]).toBeCloseTo(sum, 9));
  });
});

/** A float32 number between those next to it. */
function neighbours(tie: number): number[] {
  const [bits] = new Int32Array(Float32Array.of(tie).buffer);
  return [...new Float32Array(Int32Array.of(bits - 1, bits, bits + 1).buffer)];
}

test('ties, and the weights next to them, are rounded as single weights are', () => {
  const random = uniform(3);
  // Half of the scales have the 11 bits of float16, whose ties float32 holds exactly.
  const scales = Float32Array.from({ length: 4000 }, (_, g) => {
    const scale = 2 ** Math.floor(random() * 30 - 20) * (1 + random());
    return g % 2 === 0 ? scale : roundToHalf(scale);
  });
  const data = Float32Array.from(
    [...scales].flatMap((scale) => [
      ...Array.from({ length: 5 }, () => Math.floor(random() * 254) - 126.5).flatMap((steps) =>
        neighbours(steps * scale),
      ),
      0,
    ]),
  );
  const codes = roundByVectors(data, scales, 16);
  const wrong = data.findIndex((weight, i) => codes[i] !== roundToGrid(weight, scales[i >> 4], everything));
  expect([codes.length, wrong]).toEqual([64000, -1]);
});

test.each([
  [NaN, 0x7fc00000],
  [-Infinity, 0x7f800000],
  [-0, 0],
])('%d among zeros has the largest magnitude', (value, bits) => {
  const weights = new Float32Array(32);
  weights[21] = value;
  expect([...largestByVectors(weights, 16)]).toEqual([0, bits]);
});

test('groups that are no whole vectors, or cut short at the end of a row, are left to others', () => {
  expect([fitsVectors(64, 16), fitsVectors(64, 8), fitsVectors(80, 32)]).toEqual([true, false, false]);
  expect(fitsVectors(2 ** 20, 32)).toBe(false);
});
