import { roundHalfToEven } from '../tensor/half.ts';
import type { Matrix } from '../tensor/matrix.ts';

/** Activations quantized per token: row t of X is about `(codes[t, :] - zeroPoints[t]) * scales[t]`. */
export interface QuantizedActivations {
  rows: number;
  cols: number;
  /** Unsigned, 0 … 2^bits - 1. */
  codes: Uint8Array;
  /** The code of zero, one per token. */
  zeroPoints: Uint8Array;
  /** One per token, always positive. */
  scales: Float32Array;
}

/** Smallest normal float32: the scale of a token of zeros, so that no division gives NaN. */
const smallestScale = 2 ** -126;

/**
 * Dynamic per-token quantization of X [tokens, channels], step for step as the emitted graph computes it in float32.
 * Below 8 bits every code is used: the token's smallest and largest value (zero always lies between them) become the
 * ends of the grid. 8 bits are symmetric, around code 128: what a one-sided grid could gain is not worth its cost there.
 * With a `clip` below 1 the grid spans that share of the range, and its ends take what lies beyond.
 */
export function quantizeActivations(
  { rows, cols, data }: Matrix,
  { bits, clip = 1 }: { bits: number; clip?: number },
): QuantizedActivations {
  const codes = new Uint8Array(rows * cols);
  const zeroPoints = new Uint8Array(rows);
  const scales = new Float32Array(rows);
  for (let t = 0; t < rows; t++) {
    const token = data.subarray(t * cols, (t + 1) * cols);
    const { scale, zeroPoint } = bits < 8 ? wholeRange(token, bits, clip) : symmetricRange(token, bits, clip);
    scales[t] = scale;
    zeroPoints[t] = zeroPoint;
    for (let c = 0; c < cols; c++) {
      const code = roundHalfToEven(Math.fround(token[c] / scale)) + zeroPoint;
      codes[t * cols + c] = Math.min(Math.max(code, 0), 2 ** bits - 1);
    }
  }
  return { rows, cols, codes, zeroPoints, scales };
}

/** One part in 2^bits - 1 of the range; a hair more, so that two roundings never reach one code too many. */
export function rangeFraction(bits: number, clip: number): number {
  return Math.fround(clip / (2 ** bits - 1 - 1e-4));
}

/** The same of the largest magnitude, for the symmetric grid. */
export function magnitudeFraction(bits: number, clip: number): number {
  return Math.fround(clip / (2 ** (bits - 1) - 1));
}

function wholeRange(token: Float32Array, bits: number, clip: number): { scale: number; zeroPoint: number } {
  const largest = token.reduce((most, value) => Math.max(most, value), 0);
  const smallest = token.reduce((least, value) => Math.min(least, value), 0);
  const scale = positive(Math.fround(Math.fround(largest - smallest) * rangeFraction(bits, clip)));
  const end = Math.fround(smallest * Math.fround(clip));
  return { scale, zeroPoint: roundHalfToEven(-Math.fround(end / scale)) };
}

function symmetricRange(
  token: Float32Array,
  bits: number,
  clip: number,
): { scale: number; zeroPoint: number } {
  const largest = token.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = positive(Math.fround(largest * magnitudeFraction(bits, clip)));
  return { scale, zeroPoint: 2 ** (bits - 1) };
}

function positive(scale: number): number {
  return Math.max(scale, smallestScale);
}

/** The float32 activations that quantized ones stand for, [tokens, channels]. */
export function dequantizeActivations({
  rows,
  cols,
  codes,
  zeroPoints,
  scales,
}: QuantizedActivations): Matrix {
  const data = Float32Array.from(codes, (code, i) => {
    const token = Math.floor(i / cols);
    return (code - zeroPoints[token]) * scales[token];
  });
  return { rows, cols, data };
}
