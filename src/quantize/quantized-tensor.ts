import type { Matrix } from '../tensor/matrix.ts';
import { matrix } from '../tensor/matrix.ts';
import { groupCountOf } from './grid.ts';

/**
 * A quantized [rows, cols] = [out, in] weight as plain data. A weight is
 * `codes[r, c] * scales[r, g]` with `g = floor(c / groupSize)`.
 */
export interface QuantizedTensor {
  rows: number;
  cols: number;
  /** Storage width of a code. Ternary weights use 2 bits with codes -1, 0, 1. */
  bits: 2 | 3 | 4 | 8;
  /** Row-major signed codes, [rows, cols]; see `Grid` for their range. */
  codes: Int8Array;
  /** Weights per scale along a row; equals `cols` for one scale per output channel. */
  groupSize: number;
  /** [rows, ceil(cols / groupSize)], all finite, none 0 (1 where every code of the group is 0); some may be negative. */
  scales: Float32Array;
  /** Where the scales of a row are whole multiples of one step, see `stepScale`: these, [rows]. */
  steps?: Float32Array;
  /** Name of the rounding method that made it, e.g. `rtn`, `clip`, `gptq`, `ternary`. */
  method: string;
}

/** The float32 weight a quantized tensor stands for, [rows, cols]. */
export function dequantize(tensor: QuantizedTensor): Matrix {
  const { rows, cols, codes, groupSize, scales } = tensor;
  const groups = groupCountOf(cols, groupSize);
  const result = matrix(rows, cols);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const group = r * groups + Math.floor(c / groupSize);
      result.data[r * cols + c] = codes[r * cols + c] * scales[group];
    }
  }
  return result;
}

/** The rows of two weights of one kind, one after the other. */
export function stackRows(a: QuantizedTensor, b: QuantizedTensor): QuantizedTensor {
  return {
    ...a,
    rows: a.rows + b.rows,
    codes: joined(new Int8Array(a.codes.length + b.codes.length), a.codes, b.codes),
    scales: joined(new Float32Array(a.scales.length + b.scales.length), a.scales, b.scales),
    ...(a.steps && b.steps && { steps: joined(new Float32Array(a.rows + b.rows), a.steps, b.steps) }),
  };
}

function joined<Numbers extends Int8Array | Float32Array>(both: Numbers, a: Numbers, b: Numbers): Numbers {
  both.set(a);
  both.set(b, a.length);
  return both;
}
