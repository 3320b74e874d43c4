import type { Matrix } from '../tensor/matrix.ts';
import { matrix } from '../tensor/matrix.ts';
import type { Hessian } from './hessian.ts';

/** Width of the blocks a width is rotated in: the largest known Hadamard order up to `limit` that divides it, or 1. */
export function hadamardBlock(width: number, limit = 256): number {
  let block = Math.min(width, limit);
  while (width % block !== 0 || coreOf(block) === null) block--;
  return block;
}

/**
 * X·diag(H, …, H) with a normalized Hadamard matrix H [block, block], for X [rows, cols]: every block of every row is
 * rotated so that an outlier spreads over the whole block. Rotating activations and the rows of W [out, in] alike
 * leaves XWᵀ unchanged. H is Sylvester's for powers of two (then it is its own inverse), and Paley's times Sylvester's for
 * other orders.
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
export function rotateHessian(hessian: Hessian, block = hadamardBlock(hessian.cols)): Hessian {
  const { rows, cols, data } = hessian;
  const half = rotateBlocks(data, block);
  const transposed = Float64Array.from(half, (_, i) => half[(i % rows) * cols + Math.floor(i / rows)]);
  return { ...hessian, data: rotateBlocks(transposed, block) };
}

/** Every run of `block` numbers rotated. @throws RangeError for an order no matrix is known for */
function rotateBlocks(data: Float32Array | Float64Array, block: number): Float64Array {
  const core = coreOf(block);
  if (core === null) throw new RangeError(`there is no Hadamard matrix of order ${block} here`);
  const result = new Float64Array(data);
  for (let half = 1; half < block / core; half *= 2) {
    for (let start = 0; start < result.length; start += 2 * half) {
      for (let i = start; i < start + half; i++) {
        const [a, b] = [result[i], result[i + half]];
        result[i] = a + b;
        result[i + half] = a - b;
      }
    }
  }
  if (core > 1) multiplyStrided(result, block, paleyMatrix(core));
  return result.map((value) => value / Math.sqrt(block));
}

/** In every block, the numbers at equal distances times a matrix [order, order], in place. */
function multiplyStrided(data: Float64Array, block: number, factors: Int8Array): void {
  const order = Math.sqrt(factors.length);
  const stride = block / order;
  const taken = new Float64Array(order);
  const multiplyAt = (first: number): void => {
    for (let i = 0; i < order; i++) taken[i] = data[first + i * stride];
    for (let j = 0; j < order; j++) {
      let sum = 0;
      for (let i = 0; i < order; i++) sum += taken[i] * factors[i * order + j];
      data[first + j * stride] = sum;
    }
  };
  for (let start = 0; start < data.length; start += block) {
    for (let offset = 0; offset < stride; offset++) multiplyAt(start + offset);
  }
}

/** The order of the factor that is not Sylvester's: 1 for powers of two; null where no matrix is known. */
function coreOf(block: number): number | null {
  let power = 1;
  while (block % (2 * power) === 0) power *= 2;
  if (power === block) return 1;
  for (let core = block / power; core <= block; core *= 2) if (paleyOrder(core)) return core;
  return null;
}

/** Whether {@link paleyMatrix} has an order: one more than a prime that is 3 modulo 4 (12, 20, 24, 44, 48, 60 …). */
function paleyOrder(order: number): boolean {
  return order % 4 === 0 && isPrime(order - 1);
}

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return n > 1;
}

/**
 * The Hadamard matrix [order, order] of Paley's first construction (On orthogonal matrices, 1933), of 1 and -1: I +
 * S, where S tells by row and column whether their difference is a square modulo order - 1, bordered by 1 above and
 * -1 on the left.
 */
function paleyMatrix(order: number): Int8Array {
  const p = order - 1;
  const squares = new Set(Array.from({ length: p - 1 }, (_, i) => (i + 1) ** 2 % p));
  return Int8Array.from({ length: order * order }, (_, at) => {
    const [i, j] = [Math.floor(at / order), at % order];
    if (i === j || i === 0) return 1;
    if (j === 0) return -1;
    return squares.has((i - j + p) % p) ? 1 : -1;
  });
}
