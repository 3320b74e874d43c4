import { describe, expect, test } from 'vitest';
import {
  conditionalSquares,
  dampedHessian,
  dampingOf,
  diagonalOf,
  factorHessian,
} from '../../src/quantize/hessian.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import { matrix, transpose } from '../../src/tensor/matrix.ts';

const hessian = matrix(3, 3, Float32Array.of(4, 1, 2, 1, 8, 3, 2, 3, 12));

test('diagonalOf reads the diagonal', () => {
  expect([...diagonalOf(hessian)]).toEqual([4, 8, 12]);
});

describe('damping', () => {
  test('is a share of the mean diagonal, and 1 where there is none', () => {
    expect(dampingOf(hessian, 0.25)).toBe(2);
    expect(dampingOf(matrix(3, 3), 0.25)).toBe(1);
  });

  test('is no smaller than the noise', () => {
    expect(dampingOf({ ...hessian, noise: 3 }, 0.25)).toBe(3);
    expect(dampingOf({ ...hessian, noise: 1 }, 0.25)).toBe(2);
  });

  test('is added to the diagonal after reordering', () => {
    const damped = dampedHessian(hessian, 2, [2, 0, 1]);
    expect([...damped.data]).toEqual([14, 2, 3, 2, 6, 1, 3, 1, 10]);
    expect([...dampedHessian(hessian, 2).data]).toEqual([6, 1, 2, 1, 10, 3, 2, 3, 14]);
  });
});

describe('factorHessian', () => {
  test('factors the damped Hessian', async () => {
    const { damped, factor } = await factorHessian(hessian, { damping: 0.25, gemm });
    expect(damped).toEqual(dampedHessian(hessian, 2));
    const product = gemm(transpose(factor), factor).data;
    damped.data.forEach((value, i) => expect(product[i]).toBeCloseTo(value, 5));
  });

  test('raises the damping where it does not suffice', async () => {
    const indefinite = matrix(2, 2, Float32Array.of(1, 1.05, 1.05, 1));
    const { damped, factor } = await factorHessian(indefinite, { damping: 0.01, gemm });
    expect(factor.data[0] ** 2).toBeCloseTo(1.1, 5);
    expect(damped.data[0]).toBeCloseTo(1.1, 5);
  });

  test('gives up on what is no XᵀX', async () => {
    const wild = matrix(2, 2, Float32Array.of(1, 50, 50, 1));
    await expect(factorHessian(wild, { damping: 0.01, gemm })).rejects.toThrow(/HESSIAN_NOT_POSITIVE/);
  });
});

test('conditionalSquares is what of each channel those settled after it cannot explain', async () => {
  const squares = await conditionalSquares(hessian, { damping: 0.25, gemm });
  // Settled by falling diagonal (2, 1, 0): each keeps its Schur complement on the channels that come after it.
  const [a, b, c, ab, ac, bc] = [6, 10, 14, 1, 2, 3];
  const explained = (ac * ac * b - 2 * ac * bc * ab + bc * bc * a) / (a * b - ab * ab);
  expect(squares[0]).toBeCloseTo(a, 4);
  expect(squares[1]).toBeCloseTo(b - (ab * ab) / a, 4);
  expect(squares[2]).toBeCloseTo(c - explained, 4);
});
