import { roundHalfToEven } from '../tensor/half.ts';
import type { Matrix } from '../tensor/matrix.ts';

/** How rows of activations are quantized, each on grids of its own. */
export interface ActivationGrid {
  bits: number;
  /** Channels of a row. */
  width: number;
  /** Neighbouring channels that share a grid, a whole number of times in the width. */
  block: number;
}

/** Quantized activations: channel c of row t is about `(codes - zeroPoints) · scales`, of code t, c and block t, ⌊c / block⌋. */
export interface QuantizedActivations {
  rows: number;
  cols: number;
  block: number;
  /** Unsigned, 0 … 2^bits - 1. */
  codes: Uint8Array;
  /** The code of zero, one per row and block. */
  zeroPoints: Uint8Array;
  /** One per row and block, always positive. */
  scales: Float32Array;
}

/** The largest value of a block is taken for this at least: so zeros are divided by a normal float32, and give no NaN. */
export const leastMaximum = 2 ** -110;

/**
 * Dynamic quantization of X [tokens, channels], step for step as the emitted graph computes it in float32. Below 8 bits
 * every code is used: the smallest and largest value of a block (zero always lies between them) become the ends of its
 * grid. 8 bits are symmetric, around code 128, and have one grid per token: what others could gain is not worth its cost.
 *
 * Where a token has several blocks, their scales are whole multiples of one step per token, after VS-Quant (Dai et al. 2021,
 * arXiv 2102.04503, two-level scales): so products of all channels still add up in integers, see `blockSteps`.
 */
export function quantizeActivations(
  { rows, cols, data }: Matrix,
  { bits, block }: Pick<ActivationGrid, 'bits' | 'block'>,
): QuantizedActivations {
  const blocks = cols / block;
  const codes = new Uint8Array(rows * cols);
  const zeroPoints = new Uint8Array(rows * blocks);
  const scales = new Float32Array(rows * blocks);
  for (let t = 0; t < rows; t++) {
    const token = data.subarray(t * cols, (t + 1) * cols);
    for (let at = 0; at < blocks; at++) {
      const values = token.subarray(at * block, (at + 1) * block);
      const scale = scaleOf(values, token, bits);
      const zero = bits === 8 ? 128 : roundHalfToEven(-Math.fround(least(values) / scale));
      scales[t * blocks + at] = scale;
      zeroPoints[t * blocks + at] = zero;
      values.forEach((value, i) => {
        codes[t * cols + at * block + i] = roundHalfToEven(Math.fround(value / scale)) + zero;
      });
    }
  }
  return { rows, cols, block, codes, zeroPoints, scales };
}

/** The parts of a grid of so many bits, a hair less, so that two roundings never reach one code too many. */
export function partsOf(bits: number): number {
  return 2 ** bits - 1 - 1e-4;
}

/**
 * The largest magnitude of a token in its steps, where scales of blocks are whole multiples of it. What is rounded to
 * multiples reaches half of one further and still stays within ±127; and by no multiple that such a block can have is it
 * divided into a number and a half, which the last bit would round.
 */
export function blockSteps(bits: number): number {
  return bits === 3 ? 111 : 118;
}

function scaleOf(block: Float32Array, token: Float32Array, bits: number): number {
  if (bits === 8) return times(magnitude(token), 1 / 127);
  const range = Math.fround(most(block) - least(block));
  if (block.length === token.length) return times(range, 1 / partsOf(bits));
  const step = times(magnitude(token), 1 / blockSteps(bits));
  return times(step, Math.max(Math.ceil(times(Math.fround(range / step), 1 / partsOf(bits))), 1));
}

/** In float32. */
function times(value: number, factor: number): number {
  return Math.fround(value * Math.fround(factor));
}

function most(values: Float32Array): number {
  return values.reduce((largest, value) => Math.max(largest, value), leastMaximum);
}

function least(values: Float32Array): number {
  return values.reduce((smallest, value) => Math.min(smallest, value), 0);
}

function magnitude(values: Float32Array): number {
  return Math.max(most(values), -least(values));
}

/** The float32 activations that quantized ones stand for, [tokens, channels]. */
export function dequantizeActivations(quantized: QuantizedActivations): Matrix {
  const { rows, cols, block, codes, zeroPoints, scales } = quantized;
  const data = Float32Array.from(codes, (code, i) => {
    const at = Math.floor(i / block);
    return (code - zeroPoints[at]) * scales[at];
  });
  return { rows, cols, data };
}
