import type { Matrix } from '../tensor/matrix.ts';
import { maxCodeOf, roundToGrid } from './grid.ts';

/** Activations quantized per token: row t of X is about `codes[t, :] * scales[t]`. */
export interface QuantizedActivations {
  rows: number;
  cols: number;
  codes: Int8Array;
  /** One per token, always positive. */
  scales: Float32Array;
}

/** Smallest normal float32: the scale of a token of zeros, so that no division gives NaN. */
const smallestScale = 2 ** -126;

/**
 * Dynamic symmetric per-token quantization of X [tokens, channels], step for step as the emitted graph computes it in
 * float32: Abs, ReduceMax, Mul(clipRatio / maxCode), Max(2^-126), Div, Round (half to even), Clip.
 * `clipRatio` below 1 trades saturation of the largest values for a finer step.
 */
export function quantizeActivations(
  { rows, cols, data }: Matrix,
  { bits, clipRatio = 1 }: { bits: number; clipRatio?: number },
): QuantizedActivations {
  const maxCode = maxCodeOf(bits);
  const factor = Math.fround(clipRatio / maxCode);
  const codes = new Int8Array(rows * cols);
  const scales = new Float32Array(rows);
  for (let t = 0; t < rows; t++) {
    const token = data.subarray(t * cols, (t + 1) * cols);
    const largest = token.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = Math.max(Math.fround(largest * factor), smallestScale);
    scales[t] = scale;
    for (let c = 0; c < cols; c++)
      codes[t * cols + c] = roundToGrid(Math.fround(token[c] / scale), 1, maxCode);
  }
  return { rows, cols, codes, scales };
}

/** The float32 activations that quantized ones stand for, [tokens, channels]. */
export function dequantizeActivations({ rows, cols, codes, scales }: QuantizedActivations): Matrix {
  const data = new Float32Array(codes);
  for (let i = 0; i < data.length; i++) data[i] *= scales[Math.floor(i / cols)];
  return { rows, cols, data };
}
