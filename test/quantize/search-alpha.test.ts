import { describe, expect, test } from 'vitest';
import { searchAlpha } from '../../src/quantize/search-alpha.ts';

describe('searchAlpha', () => {
  test('picks the strength with the least loss and reports every trial', async () => {
    const { alpha, trials } = await searchAlpha(async (a) => (a - 0.5) ** 2, [0, 0.4, 0.5, 0.6]);
    expect(alpha).toBe(0.5);
    expect(trials.map((trial) => trial.alpha)).toEqual([0, 0.4, 0.5, 0.6]);
    expect(trials[0].loss).toBe(0.25);
  });

  test('prefers the first of equals', async () => {
    expect((await searchAlpha(() => 1, [0, 0.5])).alpha).toBe(0);
  });

  test('falls back to no smoothing when nothing can be judged', async () => {
    expect((await searchAlpha(() => NaN, [0.5, 0.6])).alpha).toBe(0);
  });
});
