import { expect, test } from 'vitest';
import { decibel } from '../../src/verify/decibel.ts';

test('ten times the power is 10 dB; no error is told as identical', () => {
  expect([decibel(10, 1), decibel(1, 0)]).toEqual([10, 200]);
});

test.each([
  [0, 1],
  [Infinity, 1],
  [1, Infinity],
  [Number.NaN, 0],
  [1, Number.NaN],
])('of power %d and error %d there is none', (power, error) => {
  expect(decibel(power, error)).toBeNaN();
});
