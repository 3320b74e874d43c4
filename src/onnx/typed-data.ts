import { Fault } from '../fault.ts';
import type { DataType } from '../tensor/dtype.ts';
import { byteLengthOf } from '../tensor/dtype.ts';
import { bytesOf, encodeNumbers } from '../tensor/encode.ts';
import type { ByteSource } from '../tensor/source.ts';
import type { Int64, TensorProto } from './messages.ts';
import { decodeMessage, fieldHeader } from './schema.ts';

/** The field of TensorProto that holds an element type when `raw_data` does not. */
export function typedFieldOf(dtype: DataType): number {
  switch (dtype) {
    case 'float32':
    case 'complex64':
      return 4;
    case 'float64':
    case 'complex128':
      return 10;
    case 'string':
      return 6;
    case 'int64':
      return 7;
    case 'uint32':
    case 'uint64':
      return 11;
    default:
      return 5;
  }
}

/** The typed field of a message in raw form. */
export function typedData(proto: TensorProto, dtype: DataType): Uint8Array {
  const { floatData = [], int32Data = [], int64Data = [], doubleData = [], uint64Data = [] } = proto;
  switch (dtype) {
    case 'float32':
    case 'complex64':
      return encodeNumbers(floatData, 'float32');
    case 'float64':
    case 'complex128':
      return encodeNumbers(doubleData, 'float64');
    case 'int64':
      return int64Bytes(int64Data);
    case 'uint32':
      return encodeNumbers(uint64Data.map(Number), 'uint32');
    case 'uint64':
      return bytesOf(BigUint64Array.from(uint64Data, toBigInt));
    case 'int32':
      return encodeNumbers(int32Data, 'int32');
    case 'int16':
    case 'uint16':
    case 'float16':
    case 'bfloat16':
      return bytesOf(Uint16Array.from(int32Data));
    default:
      return Uint8Array.from(int32Data);
  }
}

/**
 * The raw form of a typed field that was left in the file (`stored`, the packed body of the field). Packed floats
 * are raw already; packed integers are varints, which are decoded when read.
 * @throws Fault TENSOR_SIZE, here or when read, if the field does not hold `count` elements
 */
export function storedTypedData(
  stored: ByteSource,
  dtype: DataType,
  count: number,
  name: string,
): ByteSource {
  const field = typedFieldOf(dtype);
  if (field === 4 || field === 10) return stored;
  const byteLength = byteLengthOf(dtype, count);
  let cache: WeakRef<Uint8Array> | null = null;
  const decode = (): Uint8Array => {
    const message = Buffer.concat([fieldHeader(field, stored.byteLength), stored.read()]);
    const bytes = typedData(decodeMessage('TensorProto', message), dtype);
    if (bytes.length !== byteLength) throw wrongCount(dtype, count, name);
    cache = new WeakRef(bytes);
    return bytes;
  };
  // A varint takes 1 to 10 bytes. Below 8 bits, one entry holds as many elements as fit in a byte.
  const entries = byteLengthOf(dtype, 8) < 8 ? byteLength : count;
  if (stored.byteLength < entries || stored.byteLength > entries * 10) throw wrongCount(dtype, count, name);
  return {
    byteLength,
    read(offset = 0, length = byteLength - offset) {
      const bytes = cache?.deref() ?? decode();
      return bytes.subarray(offset, offset + length);
    },
  };
}

export function int64Bytes(values: readonly Int64[]): Uint8Array {
  return bytesOf(BigInt64Array.from(values, toBigInt));
}

function toBigInt(value: Int64): bigint {
  return typeof value === 'number' ? BigInt(value) : BigInt(value.toString());
}

function wrongCount(dtype: DataType, count: number, name: string): Fault {
  return new Fault({
    code: 'TENSOR_SIZE',
    what: `a tensor of ${count} ${dtype} elements holds another number of them`,
    where: `tensor ${name}`,
    remedy: 'the file is damaged or was cut short: export or download it again',
  });
}
