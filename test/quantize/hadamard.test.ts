import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hadamardBlock, hadamardMatrix, rotateHessian, rotateRows } from '../../src/quantize/hadamard.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import { matrix, transpose, type Matrix } from '../../src/tensor/matrix.ts';
import { gaussian } from './random.ts';

function distance(a: Matrix, b: Matrix): number {
  return Math.max(...a.data.map((value, i) => Math.abs(value - b.data[i])));
}

/** The whole rotation as a dense matrix, [width, width]. */
function dense(width: number, block: number): Matrix {
  const result = matrix(width, width);
  const h = hadamardMatrix(block).data;
  for (let r = 0; r < width; r++) {
    const start = r - (r % block);
    for (let c = 0; c < block; c++) result.data[r * width + start + c] = h[(r % block) * block + c];
  }
  return result;
}

describe('hadamardBlock', () => {
  test.each([
    [96, 96],
    [1344, 224],
    [704, 176],
    [2048, 256],
    [90, 2],
    [64, 64],
    [7, 1],
  ])('of width %i is %i', (width, block) => expect(hadamardBlock(width)).toBe(block));

  test('obeys a limit', () => expect(hadamardBlock(2048, 128)).toBe(128));
});

describe('hadamardMatrix', () => {
  test('has Sylvester form', () => {
    const half = 0.5;
    expect([...hadamardMatrix(4).data]).toEqual(
      [1, 1, 1, 1, 1, -1, 1, -1, 1, 1, -1, -1, 1, -1, -1, 1].map((sign) => sign * half),
    );
  });

  test.each([1, 2, 8, 12, 20, 24, 64, 88, 96, 256])('of size %i is orthogonal and flat', (block) => {
    const h = hadamardMatrix(block);
    expect(distance(gemm(h, transpose(h)), dense(block, 1))).toBeLessThan(1e-5);
    expect(h.data.every((value) => Math.abs(Math.abs(value) - block ** -0.5) < 1e-6)).toBe(true);
  });
});

test('an order that no construction gives is refused', () => {
  expect(() => hadamardMatrix(6)).toThrow('order 6');
});

describe('rotateRows', () => {
  test.each([
    [96, 32],
    [40, 20],
    [96, 96],
    [8, 8],
    [5, 1],
  ])('of width %i equals the product with blocks of %i', (width, block) => {
    const x = gaussian(3, width, width);
    expect(distance(rotateRows(x, block), gemm(x, dense(width, block)))).toBeLessThan(1e-5);
  });

  test('keeps norms and products', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer(), (width, seed) => {
        const [x, weight] = [gaussian(2, width, seed), gaussian(3, width, seed + 1)];
        const product = gemm(rotateRows(x), transpose(rotateRows(weight)));
        expect(distance(product, gemm(x, transpose(weight)))).toBeLessThan(1e-4);
      }),
    );
  });

  test('spreads an outlier over its block', () => {
    const x = matrix(1, 96);
    x.data[40] = 8;
    const rotated = rotateRows(x, 32).data;
    expect(Math.max(...rotated.map(Math.abs))).toBeCloseTo(8 / Math.sqrt(32), 5);
    expect(rotated.slice(0, 32).every((value) => value === 0)).toBe(true);
  });
});

test('rotateHessian is the Hessian of rotated activations', () => {
  const x = gaussian(30, 24, 3);
  const rotated = rotateRows(x);
  const expected = gemm(transpose(rotated), rotated);
  const { rows, cols, data } = rotateHessian(gemm(transpose(x), x));
  expect(distance(matrix(rows, cols, new Float32Array(data)), expected)).toBeLessThan(1e-3);
});
