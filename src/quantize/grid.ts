import { Fault } from '../fault.ts';
import type { Matrix } from '../tensor/matrix.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';

/** Width of a weight code in bits. */
export type Bits = QuantizedTensor['bits'];

/** The codes of a weight: all integers from `least` to `most`. */
export interface Grid {
  least: number;
  most: number;
}

export const ternaryGrid: Grid = { least: -1, most: 1 };

/**
 * Up to 4 bits have one code more below zero than above: a scale of either sign puts it where a group has its largest
 * weight. 8 bits stay symmetric, as one of 256 codes is worth little.
 */
export function gridOf(bits: Bits): Grid {
  const most = 2 ** (bits - 1) - 1;
  return { least: bits === 8 ? -most : -most - 1, most };
}

/** Bits of storage of a code: ONNX has no type of three. */
export function storedBits(bits: Bits): 2 | 4 | 8 {
  return bits === 3 ? 4 : bits;
}

/** Beyond this float64 holds integers only, so that a small number added to it is rounded, ties to even. */
const integersOnly = 1.5 * 2 ** 52;

/** The code nearest to `value` on the grid with step `scale`, which may be negative; ties to even. */
export function roundToGrid(value: number, scale: number, { least, most }: Grid): number {
  const steps = Math.max(least, Math.min(most, value / scale));
  return steps + integersOnly - integersOnly;
}

/** Number of groups in a row of `cols` weights; the last group may be shorter. */
export function groupCountOf(cols: number, groupSize: number): number {
  return Math.ceil(cols / groupSize);
}

/** Throws `WEIGHT_NOT_FINITE`, naming the first NaN or infinity. */
export function requireFinite({ rows, cols, data }: Matrix): void {
  let at = 0;
  while (at < data.length && Number.isFinite(data[at])) at++;
  if (at === data.length) return;
  throw new Fault({
    code: 'WEIGHT_NOT_FINITE',
    what: `a weight to be quantized is ${data[at]}`,
    where: `row ${Math.floor(at / cols)}, column ${at % cols} of a ${rows}x${cols} weight`,
    remedy: 'export the model again from weights that are all finite: nothing can be computed with this one',
  });
}
