import { Fault } from '../fault.ts';
import { arrayClasses } from '../tensor/array-classes.ts';
import { bytesOf } from '../tensor/encode.ts';
import { floatToHalf, halfToFloat } from '../tensor/half.ts';

/** The array class that holds each element type; float16 is held as its bits. */
const classes = {
  ...arrayClasses,
  float16: Uint16Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
} as const;

/** Element types that data may have. */
export type NumericType = keyof typeof classes;

export type NumericData = InstanceType<(typeof classes)[NumericType]>;

/** A dense row-major array of numbers. */
export interface NumericArray {
  dtype: NumericType;
  shape: number[];
  data: NumericData;
}

export function isNumericType(dtype: string): dtype is NumericType {
  return Object.hasOwn(classes, dtype);
}

/** Zeros. */
export function allocate(dtype: NumericType, count: number): NumericData {
  return new classes[dtype](count);
}

/** An array over little-endian bytes, which are copied. */
export function fromBytes(dtype: NumericType, bytes: Uint8Array): NumericData {
  // A Buffer may be part of a larger one and does not copy when sliced.
  return new classes[dtype](new Uint8Array(bytes).buffer);
}

export function bytesPerElement(dtype: NumericType): number {
  return classes[dtype].BYTES_PER_ELEMENT;
}

/** Copies `source` into `target` (of the same type) from element `offset` on. */
export function copyInto(target: NumericData, source: NumericData, offset: number): void {
  bytesOf(target).set(bytesOf(source), offset * target.BYTES_PER_ELEMENT);
}

/** `count` values of a function of the index; the caller knows that they fit. */
export function generate(dtype: NumericType, count: number, valueOf: (index: number) => number): NumericData {
  const data = allocate(dtype, count);
  for (let i = 0; i < count; i++) write(data, dtype, i, valueOf(i));
  return data;
}

/**
 * The same numbers as another element type. Between floating-point types values are rounded; an integer or
 * bool must be represented exactly, and no finite value may overflow.
 * @throws Fault DATA_INPUT_TYPE naming the first value that does not fit.
 */
export function convertArray(array: NumericArray, dtype: NumericType, where: string): NumericData {
  if (array.dtype === dtype) return array.data;
  const target = allocate(dtype, array.data.length);
  for (let i = 0; i < target.length; i++) {
    const value = valueAt(array, i);
    if (!write(target, dtype, i, value)) throw unfit(value, dtype, where);
  }
  return target;
}

/** One element as a number or, for 64-bit integers, a bigint. */
export function valueAt({ dtype, data }: Omit<NumericArray, 'shape'>, index: number): number | bigint {
  const value = data[index];
  return dtype === 'float16' ? halfToFloat(Number(value)) : value;
}

/** Stores a value; false when `dtype` cannot hold it. */
function write(data: NumericData, dtype: NumericType, index: number, value: number | bigint): boolean {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    if (typeof value === 'number' && !Number.isInteger(value)) return false;
    data[index] = BigInt(value);
  } else data[index] = dtype === 'float16' ? floatToHalf(Number(value)) : Number(value);
  const stored = Number(valueAt({ dtype, data }, index));
  if (dtype.startsWith('float')) return Number.isFinite(stored) || !Number.isFinite(Number(value));
  return stored === Number(value) && (dtype !== 'bool' || stored <= 1);
}

function unfit(value: number | bigint, dtype: NumericType, where: string): Fault {
  return new Fault({
    code: 'DATA_INPUT_TYPE',
    what: `the value ${value} does not fit the model's input type ${dtype}`,
    where,
    remedy: `give values that ${dtype} can hold`,
  });
}
