import { takeBuffer } from './spare-buffers.ts';

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** IEEE half-precision bits to a number, looked up: there are only 65536 of them. */
export function halfToFloat(bits: number): number {
  return halfValues()[bits];
}

function decodeHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

let table: Float32Array | null = null;

function halfValues(): Float32Array {
  return (table ??= Float32Array.from({ length: 65536 }, (_, bits) => decodeHalf(bits)));
}

/** Numbers of IEEE half-precision bits. */
export function halvesToFloats(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const values = halfValues();
  const result = new Float32Array(takeBuffer(bits.length * 4));
  for (let i = 0; i < bits.length; i++) result[i] = values[bits[i]];
  return result;
}

/** Numbers of bfloat16 bits: the upper halves of float32. */
export function bfloatsToFloats(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const result = new Uint32Array(takeBuffer(bits.length * 4));
  for (let i = 0; i < bits.length; i++) result[i] = bits[i] << 16;
  return new Float32Array(result.buffer);
}

/** The nearest number that float16 holds; beyond its range the number itself, as float32. */
export function roundToHalf(value: number): number {
  const magnitude = Math.abs(value);
  if (!(magnitude <= 65504)) return Math.fround(value);
  if (magnitude < 2 ** -14) return halfToFloat(floatToHalf(value));
  f32[0] = value;
  u32[0] = roundedToHalf(u32[0]);
  return f32[0];
}

/** Bits of a float32 in the range where float16 has all of its 11 bits: the last 13 rounded to zeros, ties to even. */
function roundedToHalf(bits: number): number {
  return (bits + 0xfff + ((bits >>> 13) & 1)) & ~0x1fff;
}

/** A number to IEEE half-precision bits, rounding half to even. */
export function floatToHalf(value: number): number {
  f32[0] = value;
  const bits = u32[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) return sign | roundHalfToEven(Math.abs(value) * 2 ** 24);
  return sign | ((roundedToHalf(magnitude) - 0x38000000) >>> 13);
}

/** The bits of numbers that float16 keeps as they are; null where it does not. */
export function exactHalves(values: Float32Array): Uint16Array<ArrayBuffer> | null {
  const numbers = halfValues();
  const result = new Uint16Array(values.length);
  for (let i = 0; i < result.length; i++) {
    result[i] = floatToHalf(values[i]);
    if (numbers[result[i]] !== values[i]) return null;
  }
  return result;
}

/** A number to bfloat16 bits, rounding half to even. */
export function floatToBfloat(value: number): number {
  f32[0] = value;
  const bits = u32[0];
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) & 0x8000) | 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Rounds to the nearest integer, ties to even: what ONNX Round and QuantizeLinear do. */
export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5) return floor;
  if (rest > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
