/** ONNX element types by the name used throughout this project. */
export type DataType =
  | 'float32'
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'string'
  | 'bool'
  | 'float16'
  | 'float64'
  | 'uint32'
  | 'uint64'
  | 'complex64'
  | 'complex128'
  | 'bfloat16'
  | 'float8e4m3fn'
  | 'float8e4m3fnuz'
  | 'float8e5m2'
  | 'float8e5m2fnuz'
  | 'uint4'
  | 'int4'
  | 'float4e2m1'
  | 'float8e8m0'
  | 'uint2'
  | 'int2';

/** [name, TensorProto.DataType code, bits per element]; `string` has no fixed width. */
const table: readonly (readonly [DataType, number, number])[] = [
  ['float32', 1, 32],
  ['uint8', 2, 8],
  ['int8', 3, 8],
  ['uint16', 4, 16],
  ['int16', 5, 16],
  ['int32', 6, 32],
  ['int64', 7, 64],
  ['string', 8, 0],
  ['bool', 9, 8],
  ['float16', 10, 16],
  ['float64', 11, 64],
  ['uint32', 12, 32],
  ['uint64', 13, 64],
  ['complex64', 14, 64],
  ['complex128', 15, 128],
  ['bfloat16', 16, 16],
  ['float8e4m3fn', 17, 8],
  ['float8e4m3fnuz', 18, 8],
  ['float8e5m2', 19, 8],
  ['float8e5m2fnuz', 20, 8],
  ['uint4', 21, 4],
  ['int4', 22, 4],
  ['float4e2m1', 23, 4],
  ['float8e8m0', 24, 8],
  ['uint2', 25, 2],
  ['int2', 26, 2],
];

const byCode = new Map(table.map(([name, code]) => [code, name]));
const byName = new Map(table.map(([name, code, bits]) => [name, { code, bits }]));

/** The name of a TensorProto.DataType code, or undefined for a code this version does not know. */
export function dataTypeOf(code: number): DataType | undefined {
  return byCode.get(code);
}

/** The TensorProto.DataType code of an element type. */
export function codeOf(dtype: DataType): number {
  return byName.get(dtype)!.code;
}

const floats: ReadonlySet<DataType> = new Set(['float16', 'bfloat16', 'float32', 'float64']);

/** True for the floating-point types that models compute in: not for those of 8 bits and fewer, which are codes. */
export function isFloat(dtype: DataType): boolean {
  return floats.has(dtype);
}

/** The same of a code, as an attribute of a node has it. */
export function isFloatCode(code = 0): boolean {
  const dtype = dataTypeOf(code);
  return dtype !== undefined && isFloat(dtype);
}

/** Storage bits of one element; 0 for `string`. */
export function bitsOf(dtype: DataType): number {
  return byName.get(dtype)!.bits;
}

/** Bytes that `count` elements occupy in ONNX raw form (sub-byte types are packed, rounded up). */
export function byteLengthOf(dtype: DataType, count: number): number {
  return Math.ceil((count * bitsOf(dtype)) / 8);
}

/** Number of elements of a shape; 1 for a scalar. */
export function countOf(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}
