import { Fault } from '../fault.ts';
import type { DataType } from './dtype.ts';
import { bfloatsToFloats, halvesToFloats } from './half.ts';
import { giveBuffer } from './spare-buffers.ts';

type NumberArray =
  | Float32Array<ArrayBuffer>
  | Float64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/**
 * The numbers in raw (little-endian) bytes, in a new array (or, of `fresh` bytes, in the same memory): Float32Array for
 * floats of up to 32 bits. 64-bit integers are rounded to the nearest double.
 * @throws Fault TENSOR_DTYPE for element types that do not occupy whole bytes or are no plain numbers
 */
export function decodeNumbers(raw: Uint8Array, dtype: DataType, fresh = false): NumberArray {
  const isOwn = fresh && raw.byteLength === raw.buffer.byteLength;
  const bytes = isOwn ? (raw as Uint8Array<ArrayBuffer>) : new Uint8Array(raw);
  switch (dtype) {
    case 'float32':
      return new Float32Array(bytes.buffer);
    case 'float64':
      return new Float64Array(bytes.buffer);
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
    case 'int32':
      return new Int32Array(bytes.buffer);
    case 'uint32':
      return new Uint32Array(bytes.buffer);
    case 'int16':
      return new Int16Array(bytes.buffer);
    case 'uint16':
      return new Uint16Array(bytes.buffer);
    case 'int8':
      return new Int8Array(bytes.buffer);
    case 'uint8':
    case 'bool':
      return bytes;
    default:
      throw new Fault({ code: 'TENSOR_DTYPE', what: `a ${dtype} tensor cannot be read as numbers` });
  }
}
