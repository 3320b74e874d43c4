import { expect, test } from 'vitest';
import { positionsFor } from '../../src/verify/batches-for.ts';

test.each([
  [0, 4096],
  [8192, 4096],
  [151_936, 220],
  [2 ** 26, 1],
])('of %d classes, %d positions', (classes, positions) => expect(positionsFor(classes)).toBe(positions));
