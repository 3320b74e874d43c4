import { Fault } from '../fault.ts';
import type { DataType } from '../tensor/dtype.ts';
import { byteLengthOf, codeOf, countOf, dataTypeOf } from '../tensor/dtype.ts';
import type { ByteSource, TensorSource } from '../tensor/source.ts';
import { sliceSource, tensorSource } from '../tensor/source.ts';
import { externalRange } from './external-data.ts';
import type { TensorProto } from './messages.ts';
import { decodeMessage, fieldHeader } from './schema.ts';
import { storedTypedData, typedData, typedFieldOf } from './typed-data.ts';

/** Where the tensors of a model read their bytes from: the file itself, and the folder of external data. */
export interface TensorOrigin {
  path: string;
  file: ByteSource;
}

/** A constant of a model: its ONNX header and its bytes, which are read when asked for. */
export interface Tensor {
  /** The message as it was in the file, without large data; for a new tensor, its header only. */
  proto: TensorProto;
  source: TensorSource;
  /** The data field as it stands in the file, if that is a typed one too large for `proto`. */
  stored?: { field: number; bytes: ByteSource };
}

interface Data {
  raw: ByteSource | Uint8Array;
  stored?: { field: number; bytes: ByteSource };
}

/** TensorProto.DataLocation. */
const external = 1;
const rawData = 9;

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
  const { raw, ...rest } = dataOf(proto, dtype, shape, origin);
  return { proto, source: tensorSource(dtype, shape, raw, name), ...rest };
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

/** The message of a tensor with its data inside. */
export function wholeTensor(tensor: Tensor): TensorProto {
  if (isTyped(tensor)) return tensor.proto;
  const { field, bytes } = dataField(tensor);
  const data = Buffer.concat([fieldHeader(field, bytes.byteLength), bytes.read()]);
  return { ...headerOf(tensor), ...decodeMessage('TensorProto', data) };
}

/** The data of a tensor as a field of its message: in the encoding it was read with, otherwise raw. */
export function dataField({ stored, source }: Tensor): { field: number; bytes: ByteSource } {
  return stored ?? { field: rawData, bytes: source };
}

/** The same message with data that stands elsewhere read into it. */
export function inlineTensor(proto: TensorProto, origin: TensorOrigin): TensorProto {
  const isElsewhere = proto.payloadOffset !== undefined || proto.dataLocation === external;
  return isElsewhere ? wholeTensor(openTensor(proto, origin)) : proto;
}

/** True when the data stands in typed fields of the message, which are kept as they are. */
export function isTyped({ proto, source }: Tensor): boolean {
  const { floatData, int32Data, int64Data, doubleData, uint64Data } = proto;
  return (
    source.dtype === 'string' ||
    [floatData, int32Data, int64Data, doubleData, uint64Data].some((data) => data && data.length > 0)
  );
}

/** The message of a tensor without its data. */
export function headerOf({ proto }: Tensor): TensorProto {
  const {
    rawData: _raw,
    floatData: _floats,
    int32Data: _ints,
    int64Data: _longs,
    doubleData: _doubles,
    uint64Data: _unsigned,
    payloadField: _field,
    payloadOffset: _at,
    payloadLength: _length,
    externalData: _external,
    dataLocation: _location,
    ...header
  } = proto;
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

function dataOf(proto: TensorProto, dtype: DataType, shape: readonly number[], origin: TensorOrigin): Data {
  const { payloadOffset, payloadLength = 0, payloadField = rawData, name = '' } = proto;
  if (proto.dataLocation === external)
    return { raw: externalRange(proto, byteLengthOf(dtype, countOf(shape)), origin.path) };
  if (payloadOffset !== undefined) {
    const stored = storedRange(origin, payloadOffset, payloadLength, name);
    if (payloadField === rawData) return { raw: stored };
    if (payloadField !== typedFieldOf(dtype))
      throw damaged(origin, name, `its ${dtype} elements do not stand in the field for that type`);
    return {
      raw: storedTypedData(stored, dtype, countOf(shape), name),
      stored: { field: payloadField, bytes: stored },
    };
  }
  if (proto.rawData?.length) return { raw: proto.rawData };
  if (dtype === 'string') return { raw: strings(proto, countOf(shape), origin) };
  return { raw: typedData(proto, dtype) };
}

/** Strings have no raw form; only their number is checked. */
function strings(
  { stringData = [], name = '' }: TensorProto,
  count: number,
  origin: TensorOrigin,
): Uint8Array {
  if (stringData.length !== count)
    throw damaged(origin, name, `it holds ${stringData.length} of ${count} strings`);
  return new Uint8Array(0);
}

/** A file may name a place itself, in the private fields, so that the place is checked. */
function storedRange(origin: TensorOrigin, offset: number, length: number, name: string): ByteSource {
  const isRange = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!isRange || offset + length > origin.file.byteLength)
    throw damaged(origin, name, 'its data lies outside the file');
  return sliceSource(origin.file, offset, length);
}

function damaged(origin: TensorOrigin, name: string, why: string): Fault {
  return new Fault({
    code: 'TENSOR_SIZE',
    what: 'the data of a tensor is damaged',
    where: `${origin.path}, tensor ${name}`,
    why,
    remedy: 'export or download the file again',
  });
}
