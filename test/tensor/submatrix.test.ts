import { expect, test } from 'vitest';
import { matrix } from '../../src/tensor/matrix.ts';
import { rowsOf, submatrix } from '../../src/tensor/submatrix.ts';

const table = matrix(
  3,
  4,
  Float32Array.from({ length: 12 }, (_, i) => i),
);

test('submatrix copies a window', () => {
  const window = submatrix(table, [1, 3], [1, 3]);
  expect(window).toEqual(matrix(2, 2, Float32Array.of(5, 6, 9, 10)));
  window.data[0] = -1;
  expect(table.data[5]).toBe(5);
});

test('rowsOf shares the memory of the matrix', () => {
  const rows = rowsOf(table, 1, 2);
  expect(rows).toEqual(matrix(1, 4, Float32Array.of(4, 5, 6, 7)));
  expect(rows.data.buffer).toBe(table.data.buffer);
});
