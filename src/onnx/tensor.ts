import { Fault } from '../fault.ts';
import { byteLengthOf, codeOf, countOf, dataTypeOf } from '../tensor/dtype.ts';
import type { DataType } from '../tensor/dtype.ts';
import { bytesOf, encodeNumbers } from '../tensor/encode.ts';
import type { ByteSource, TensorSource } from '../tensor/source.ts';
import { sliceSource, tensorSource } from '../tensor/source.ts';
import { externalRange } from './external-data.ts';
import type { Int64, TensorProto } from './messages.ts';

export { bytesOf };

/** Where the tensors of a model read their bytes from: the file itself, and the folder of external data. */
export interface TensorOrigin {
  path: string;
  file: ByteSource;
}

/** A constant of a model: its ONNX header and its bytes, which are read when asked for. */
export interface Tensor {
  /** The message as it was in the file, without large payloads; for a new tensor, its header only. */
  proto: TensorProto;
  source: TensorSource;
}

/**
 * Gives a TensorProto its bytes, whatever the encoding (raw, typed fields, external data).
 * @throws Fault TENSOR_DTYPE, TENSOR_SIZE, EXTERNAL_DATA
 */
export function openTensor(proto: TensorProto, origin: TensorOrigin): Tensor {
  const name = proto.name ?? '';
  const dtype = dataTypeOf(proto.dataType ?? 0);
  if (dtype === undefined) {
    throw new Fault({
      code: 'TENSOR_DTYPE',
      what: `element type ${proto.dataType ?? 0} is unknown`,
      where: `${origin.path}, tensor ${name}`,
      remedy: 'the file is damaged or newer than ONNX 1.21',
    });
  }
  const shape = shapeOf(proto, origin.path);
  return { proto, source: tensorSource(dtype, shape, payloadOf(proto, dtype, shape, origin), name) };
}

/** A new tensor. `bytes` is in ONNX raw form. */
export function makeTensor(
  name: string,
  dtype: DataType,
  shape: readonly number[],
  bytes: ByteSource | Uint8Array,
): Tensor {
  return {
    proto: { name, dims: [...shape], dataType: codeOf(dtype) },
    source: tensorSource(dtype, shape, bytes, name),
  };
}

/** The message of a tensor with its payload inside. */
export function wholeTensor(tensor: Tensor): TensorProto {
  return isTyped(tensor) ? tensor.proto : { ...headerOf(tensor), rawData: tensor.source.read() };
}

/** The same message with a payload that was left in the file read into it. */
export function inlineTensor(proto: TensorProto, origin: TensorOrigin): TensorProto {
  return proto.payloadOffset === undefined ? proto : wholeTensor(openTensor(proto, origin));
}

/** True when the payload stands in typed fields of the message, which are kept as they are. */
export function isTyped({ proto }: Tensor): boolean {
  const { floatData, int32Data, int64Data, doubleData, uint64Data, stringData } = proto;
  return [floatData, int32Data, int64Data, doubleData, uint64Data, stringData].some(
    (data) => data && data.length > 0,
  );
}

/** The message of a tensor without its payload. */
export function headerOf({ proto }: Tensor): TensorProto {
  const {
    rawData: _raw,
    payloadOffset: _at,
    payloadLength: _length,
    externalData: _external,
    ...header
  } = proto;
  delete header.dataLocation;
  return header;
}

function shapeOf(proto: TensorProto, path: string): number[] {
  const shape = (proto.dims ?? []).map(Number);
  const invalid =
    shape.some((dim) => !Number.isSafeInteger(dim) || dim < 0) || !Number.isSafeInteger(countOf(shape));
  if (!invalid) return shape;
  throw new Fault({
    code: 'TENSOR_SIZE',
    what: `the shape [${shape.join(', ')}] is impossible`,
    where: `${path}, tensor ${proto.name ?? ''}`,
    remedy: 'the file is damaged: export or download it again',
  });
}

function payloadOf(
  proto: TensorProto,
  dtype: DataType,
  shape: readonly number[],
  origin: TensorOrigin,
): ByteSource | Uint8Array {
  if (proto.dataLocation === 1) return externalRange(proto, byteLengthOf(dtype, countOf(shape)), origin.path);
  if (proto.payloadOffset !== undefined)
    return sliceSource(origin.file, proto.payloadOffset, proto.payloadLength ?? 0);
  if (proto.rawData?.length) return proto.rawData;
  if (dtype === 'string') return new Uint8Array(0);
  return typedPayload(proto, dtype);
}

/** The typed repeated fields of TensorProto, turned into raw form. */
function typedPayload(proto: TensorProto, dtype: DataType): Uint8Array {
  const { floatData = [], int32Data = [], int64Data = [], doubleData = [], uint64Data = [] } = proto;
  switch (dtype) {
    case 'float32':
    case 'complex64':
      return encodeNumbers(floatData, 'float32');
    case 'float64':
    case 'complex128':
      return encodeNumbers(doubleData, 'float64');
    case 'int64':
      return bytesOf(BigInt64Array.from(int64Data, toBigInt));
    case 'uint32':
      return bytesOf(Uint32Array.from(uint64Data, Number));
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

/** The exact value of a 64-bit field. */
export function toBigInt(value: Int64): bigint {
  return typeof value === 'number' ? BigInt(value) : BigInt(value.toString());
}
