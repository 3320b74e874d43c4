import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RouterGap } from '../../src/quantize/realign.ts';
import { realignment } from '../../src/quantize/realign.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix, transpose } from '../../src/tensor/matrix.ts';
import { gaussian } from './random.ts';

const [tokens, hidden, experts] = [200, 24, 6];

/** The sums over x [tokens, hidden] and e [tokens, experts], all tokens alike. */
function gapOf(x: Matrix, e: Matrix): RouterGap {
  return { gram: gemm(transpose(x), x), cross: gemm(transpose(x), e) };
}

test('a router whose weight was disturbed gets its weight back', async () => {
  const x = gaussian(tokens, hidden, 1);
  const disturbance = gaussian(experts, hidden, 2);
  const missing = gemm(x, transpose(disturbance));
  const change = await realignment(gapOf(x, missing), 1e-6);
  change.data.forEach((value, i) => expect(value).toBeCloseTo(disturbance.data[i], 3));
});

test('the change is where the gradient of the ridge regression vanishes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(1000), fc.constantFrom(1e-3, 1e-1, 1), async (seed, share) => {
      const [x, e] = [gaussian(tokens, hidden, seed), gaussian(tokens, experts, seed + 1)];
      const gap = gapOf(x, e);
      const change = await realignment(gap, share);
      const ridge = share * meanDiagonal(gap.gram);
      const gradient = gemm(gap.gram as Matrix, transpose(change)).data.map(
        (value, i) => value + ridge * transpose(change).data[i] - gap.cross.data[i],
      );
      for (const value of gradient) expect(Math.abs(value)).toBeLessThan(1e-2);
    }),
    { numRuns: 12 },
  );
});

test('the stronger the ridge the smaller the change', async () => {
  const gap = gapOf(gaussian(tokens, hidden, 3), gaussian(tokens, experts, 4));
  const sizes = [];
  for (const share of [1e-3, 1, 1e3]) {
    const { data } = await realignment(gap, share);
    sizes.push(data.reduce((sum, value) => sum + value ** 2, 0));
  }
  expect(sizes[0]).toBeGreaterThan(sizes[1]);
  expect(sizes[1]).toBeGreaterThan(1e4 * sizes[2]);
});

test('without tokens nothing changes', async () => {
  const gap = { gram: matrix(hidden, hidden), cross: matrix(hidden, experts) };
  expect((await realignment(gap, 0.1)).data.every((value) => value === 0)).toBe(true);
});

function meanDiagonal({ rows, data }: RouterGap['gram']): number {
  let sum = 0;
  for (let j = 0; j < rows; j++) sum += data[j * rows + j];
  return sum / rows;
}
