import { Fault } from '../fault.ts';
import { arrayClasses, hasArrayClass } from './array-classes.ts';
import type { DataType } from './dtype.ts';
import { floatToBfloat, floatToHalf } from './half.ts';

/**
 * Numbers in the raw (little-endian) form of an element type. float16 and bfloat16 round half to even; integers
 * must fit.
 * @throws Fault TENSOR_DTYPE for element types that do not occupy whole bytes or are no plain numbers
 */
export function encodeNumbers(values: ArrayLike<number>, dtype: DataType): Uint8Array<ArrayBuffer> {
  if (hasArrayClass(dtype)) return bytesOf(new arrayClasses[dtype](values));
  switch (dtype) {
    case 'float16':
      return bytesOf(toBits(values, floatToHalf));
    case 'bfloat16':
      return bytesOf(toBits(values, floatToBfloat));
    case 'int64':
      return bytesOf(BigInt64Array.from(values as number[], BigInt));
    case 'uint64':
      return bytesOf(BigUint64Array.from(values as number[], BigInt));
    default:
      throw new Fault({ code: 'TENSOR_DTYPE', what: `numbers cannot be stored as ${dtype}` });
  }
}

/** A plain loop: `Uint16Array.from` with a function takes ten times as long. */
function toBits(values: ArrayLike<number>, bitsOf: (value: number) => number): Uint16Array<ArrayBuffer> {
  const result = new Uint16Array(values.length);
  for (let i = 0; i < result.length; i++) result[i] = bitsOf(values[i]);
  return result;
}

/** The bytes of a typed array, without a copy. */
export function bytesOf<Buffer extends ArrayBufferLike>(array: {
  buffer: Buffer;
  byteOffset: number;
  byteLength: number;
}): Uint8Array<Buffer> {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
