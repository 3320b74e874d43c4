import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import { magnitudeFraction, rangeFraction } from '../../quantize/activation.ts';

/** The grid each token is quantized to, [n, 1]; see `quantizeActivations` in the quantize room. */
export interface TokenGrid {
  scales: Value;
  /** The same as a vector [n], as QuantizeLinear and DequantizeLinear take it along axis 0. */
  vector: Value;
  /** What gets code 0 in each token: its smallest value, or where it is clipped; null for the symmetric grid of 8 bits. */
  smallest: Value | null;
}

/** Dynamic per-token grids of [n, channels] for codes of `bits` bits, in the arithmetic of the quantize room. */
export function tokenGrid(b: Builder, x: Value, bits: number, clip: number): TokenGrid {
  const grid =
    bits < 8 ? wholeRange(b, x, bits, clip) : { scales: symmetricScales(b, x, bits, clip), smallest: null };
  return { ...grid, vector: perRow(b, grid.scales) };
}

function wholeRange(b: Builder, x: Value, bits: number, clip: number): Omit<TokenGrid, 'vector'> {
  const zero = scalar(b, 'zero', 0);
  const largest = b.op('Max', [reduce(b, 'ReduceMax', x), zero], {}, { name: 'largest' });
  const smallest = b.op('Min', [reduce(b, 'ReduceMin', x), zero], {}, { name: 'smallest' });
  const range = b.op('Sub', [largest, smallest], {}, { name: 'range' });
  const scales = positive(b, b.op('Mul', [range, scalar(b, 'fraction', rangeFraction(bits, clip))]));
  return { scales, smallest: clip === 1 ? smallest : b.op('Mul', [smallest, scalar(b, 'clip', clip)]) };
}

/** The code of zero in a grid, [n, 1], in float32; null for the symmetric grid, where all codes are signed. */
export function zeroPointsOf(b: Builder, { scales, smallest }: TokenGrid): Value | null {
  if (!smallest) return null;
  return b.op('Round', [b.op('Neg', [b.op('Div', [smallest, scales])])], {}, { name: 'zero_codes' });
}

function symmetricScales(b: Builder, x: Value, bits: number, clip: number): Value {
  const largest = reduce(b, 'ReduceMax', b.op('Abs', [x]));
  const fraction = scalar(b, 'fraction', magnitudeFraction(bits, clip));
  return positive(b, b.op('Mul', [largest, fraction]));
}

/** Over the channels. Not axis -1: without rows ONNX Runtime 1.30 then gives [0, channels] instead of [0, 1]. */
function reduce(b: Builder, opType: 'ReduceMax' | 'ReduceMin', x: Value): Value {
  return b.op(opType, [x, b.ints([1])], { keepdims: 1 });
}

/** The smallest normal float32 keeps a token of zeros from dividing by zero. */
function positive(b: Builder, scales: Value): Value {
  return b.op('Max', [scales, scalar(b, 'tiny', 2 ** -126)], {}, { name: 'scales' });
}

function scalar(b: Builder, name: string, value: number): Value {
  return b.constant(name, 'float32', [], [value]);
}

/** A column [n, 1] as a vector [n]. */
export function perRow(b: Builder, column: Value): Value {
  return b.op('Reshape', [column, b.ints([-1])]);
}
