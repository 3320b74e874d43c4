import { matrix, type Matrix } from '../tensor/matrix.ts';
import type { Hessian } from './hessian.ts';

/** Width of the blocks a width is rotated in: its largest power-of-two divisor, up to `limit`. */
export function hadamardBlock(width: number, limit = 256): number {
  let block = 1;
  while (block * 2 <= limit && width % (block * 2) === 0) block *= 2;
  return block;
}

/**
 * X·diag(H, …, H) with the normalized Hadamard matrix H [block, block] (Sylvester's order), for X [rows, cols]: every
 * block of every row is rotated so that an outlier spreads over the whole block. H is symmetric and its own inverse:
 * rotating activations and the rows of W [out, in] alike leaves XWᵀ unchanged, and rotating twice gives X back.
 * O(rows · cols · log block).
 */
export function rotateRows({ rows, cols, data }: Matrix, block = hadamardBlock(cols)): Matrix {
  return matrix(rows, cols, new Float32Array(rotateBlocks(data, block)));
}

/** The rotation of one block as a matrix, [block, block]. */
export function hadamardMatrix(block: number): Matrix {
  const identity = matrix(block, block);
  for (let i = 0; i < block; i++) identity.data[i * (block + 1)] = 1;
  return rotateRows(identity, block);
}

/** H becomes RᵀHR under the rotation R of {@link rotateRows}: the Hessian that rotated activations have. */
export function rotateHessian({ rows, cols, data }: Hessian, block = hadamardBlock(cols)): Hessian {
  const half = rotateBlocks(data, block);
  const transposed = Float64Array.from(half, (_, i) => half[(i % rows) * cols + Math.floor(i / rows)]);
  return { rows, cols, data: rotateBlocks(transposed, block) };
}

/** Every run of `block` numbers rotated. */
function rotateBlocks(data: Float32Array | Float64Array, block: number): Float64Array {
  const result = new Float64Array(data);
  for (let half = 1; half < block; half *= 2) {
    for (let start = 0; start < result.length; start += 2 * half) {
      for (let i = start; i < start + half; i++) {
        const [a, b] = [result[i], result[i + half]];
        result[i] = a + b;
        result[i + half] = a - b;
      }
    }
  }
  return result.map((value) => value / Math.sqrt(block));
}
