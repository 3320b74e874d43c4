import { Fault } from '../fault.ts';
import type { ArrayType } from './array-classes.ts';
import { arrayClasses, hasArrayClass } from './array-classes.ts';
import type { DataType } from './dtype.ts';
import { bfloatsToFloats, halvesToFloats } from './half.ts';
import { giveBuffer } from './spare-buffers.ts';

/**
 * The numbers in raw (little-endian) bytes, in a new array (or, of `fresh` bytes, in the same memory): Float32Array for
 * floats of up to 32 bits. 64-bit integers are rounded to the nearest double.
 * @throws Fault TENSOR_DTYPE for element types that do not occupy whole bytes or are no plain numbers
 */
export function decodeNumbers(
  raw: Uint8Array,
  dtype: DataType,
  fresh = false,
): InstanceType<(typeof arrayClasses)[ArrayType]> {
  const isOwn = fresh && raw.byteLength === raw.buffer.byteLength;
  const bytes = isOwn ? (raw as Uint8Array<ArrayBuffer>) : new Uint8Array(raw);
  if (hasArrayClass(dtype)) return new arrayClasses[dtype](bytes.buffer);
  switch (dtype) {
    case 'float16':
    case 'bfloat16': {
      const toFloats = dtype === 'float16' ? halvesToFloats : bfloatsToFloats;
      const floats = toFloats(new Uint16Array(bytes.buffer));
      giveBuffer(bytes);
      return floats;
    }
    case 'int64':
      return Float64Array.from(new BigInt64Array(bytes.buffer), Number);
    case 'uint64':
      return Float64Array.from(new BigUint64Array(bytes.buffer), Number);
    default:
      throw new Fault({ code: 'TENSOR_DTYPE', what: `a ${dtype} tensor cannot be read as numbers` });
  }
}
