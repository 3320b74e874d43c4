import { expect, test } from 'vitest';
import type { Matrix } from '../../src/tensor/matrix.ts';
import {
  columnAbsMax,
  matrix,
  rowsOf,
  scaleColumns,
  scaleRows,
  submatrix,
  transpose,
} from '../../src/tensor/matrix.ts';
import { gaussian } from '../quantize/random.ts';

/** 1 2 3 / 4 5 -6 */
function sample(): Matrix {
  return matrix(2, 3, Float32Array.of(1, 2, 3, 4, 5, -6));
}

test('a new matrix is zero', () => {
  expect([...matrix(2, 2).data]).toEqual([0, 0, 0, 0]);
});

test('transpose swaps rows and columns', () => {
  expect(transpose(sample())).toEqual(matrix(3, 2, Float32Array.of(1, 4, 2, 5, 3, -6)));
});

test('transpose of a matrix of many rows swaps them too', () => {
  const many = gaussian(37, 21, 1);
  const swapped = transpose(many);
  expect([swapped.rows, swapped.cols]).toEqual([21, 37]);
  swapped.data.forEach((value, i) => expect(value).toBe(many.data[(i % 37) * 21 + Math.floor(i / 37)]));
});

test('rows and columns are scaled in place', () => {
  const rows = sample();
  scaleRows(rows, [2, -1]);
  expect([...rows.data]).toEqual([2, 4, 6, -4, -5, 6]);
  const columns = sample();
  scaleColumns(columns, [1, 0, 2]);
  expect([...columns.data]).toEqual([1, 0, 6, 4, 0, -12]);
});

test('columnAbsMax sees negative numbers', () => {
  expect([...columnAbsMax(sample())]).toEqual([4, 5, 6]);
});

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
