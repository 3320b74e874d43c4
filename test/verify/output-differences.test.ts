import { expect, test } from 'vitest';
import { differencesOf, exactly, roughly } from '../../src/verify/output-differences.ts';

test('a difference is a share of what tokens have on average', () => {
  const before = [Float32Array.of(3, 4), Float32Array.of(0, 5), Float32Array.of(NaN, 1)];
  const after = [Float32Array.of(3, 4), Float32Array.of(0, 4), Float32Array.of(1, 1)];
  expect(differencesOf(before, after)).toEqual([0, 0.2]);
});

test('what is no number in the one and a number in the other differs without end', () => {
  expect(differencesOf([Float32Array.of(1)], [Float32Array.of(NaN)])).toEqual([Infinity]);
});

test('exact sums are judged by their worst token, others but for one in twenty', () => {
  const differences = [...Array<number>(38).fill(0.01), 1.4, 1.4];
  expect(exactly(differences).difference).toBe(1.4);
  expect(roughly(differences).difference).toBe(0.01);
  expect(roughly([...differences, 1.4]).difference).toBe(1.4);
});
