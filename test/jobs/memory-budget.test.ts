import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { memoryBudget } from '../../src/jobs/threads/memory-budget.ts';

test('what runs together never takes more than there is, and everything runs, in order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 150 }), { maxLength: 30 }), async (amounts) => {
      const budget = memoryBudget(100);
      const begun: number[] = [];
      let [inUse, most] = [0, 0];
      await Promise.all(
        amounts.map(async (amount, i) => {
          const release = await budget.reserve(amount);
          begun.push(i);
          inUse += Math.min(amount, 100);
          most = Math.max(most, inUse);
          await new Promise((resolve) => setImmediate(resolve));
          inUse -= Math.min(amount, 100);
          release();
        }),
      );
      expect(most).toBeLessThanOrEqual(100);
      expect(begun).toEqual(amounts.map((_, i) => i));
    }),
    { numRuns: 50 },
  );
});

test('a request larger than all waits until nothing else runs', async () => {
  const budget = memoryBudget(100);
  const release = await budget.reserve(1);
  let begun = false;
  const large = budget.reserve(1000).then((free) => {
    begun = true;
    return free;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(begun).toBe(false);
  release();
  (await large)();
  expect(begun).toBe(true);
});
