import { expect, test } from 'vitest';
import { runsOf, settlingOrder } from '../../src/quantize/settling-order.ts';

test('without a diagonal the first column is settled first', () => {
  const order = settlingOrder(null, 5, 2);
  expect([...order]).toEqual([4, 3, 2, 1, 0]);
  expect(runsOf(order, 2)).toEqual([
    { group: 0, from: 3, to: 5 },
    { group: 1, from: 1, to: 3 },
    { group: 2, from: 0, to: 1 },
  ]);
});

test('with a diagonal the group with the strongest channel is settled first, its strongest channel before the rest', () => {
  const order = settlingOrder(Float64Array.of(1, 2, 9, 3, 5), 5, 2);
  expect([...order].toReversed()).toEqual([2, 3, 4, 1, 0]);
  expect(runsOf(order, 2).map((run) => run.group)).toEqual([1, 2, 0]);
});
