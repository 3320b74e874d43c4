import { expect, test } from 'vitest';
import { runBounds, settlingOrder } from '../../src/quantize/settling-order.ts';

test('without a diagonal the first column is settled first', () => {
  const order = settlingOrder(null, 5, 2);
  expect([...order]).toEqual([4, 3, 2, 1, 0]);
  expect(runBounds(order, 2)).toEqual([0, 1, 3, 5]);
});

test('with a diagonal the group with the strongest channel is settled first, its strongest channel before the rest', () => {
  const order = settlingOrder(Float64Array.of(1, 2, 9, 3, 5), 5, 2);
  expect([...order].toReversed()).toEqual([2, 3, 4, 1, 0]);
  expect(runBounds(order, 2)).toEqual([0, 2, 3, 5]);
});
