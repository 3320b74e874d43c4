import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { rangeFraction } from '../quantize/activation.ts';

/** The grid each token is quantized to, [n, 1]; see `quantizeActivations` in the quantize room. */
export interface TokenGrid {
  scales: Value;
  /** Smallest value of each token, which gets code 0; null for the symmetric grid of 8 bits. */
  smallest: Value | null;
}

/** Dynamic per-token grids of [n, channels] for codes of `bits` bits, in the arithmetic of the quantize room. */
export function tokenGrid(b: Builder, x: Value, bits: number): TokenGrid {
  return bits < 8 ? wholeRange(b, x, bits) : { scales: symmetricScales(b, x, bits), smallest: null };
}

function wholeRange(b: Builder, x: Value, bits: number): TokenGrid {
  const zero = scalar(b, 'zero', 0);
  const largest = b.op('Max', [reduce(b, 'ReduceMax', x), zero], {}, { name: 'largest' });
  const smallest = b.op('Min', [reduce(b, 'ReduceMin', x), zero], {}, { name: 'smallest' });
  const range = b.op('Sub', [largest, smallest], {}, { name: 'range' });
  const scales = positive(b, b.op('Mul', [range, scalar(b, 'fraction', rangeFraction(bits))]));
  return { scales, smallest };
}

/** The code of zero in a grid, [n, 1], in float32; null for the symmetric grid, where all codes are signed. */
export function zeroPointsOf(b: Builder, { scales, smallest }: TokenGrid): Value | null {
  if (!smallest) return null;
  return b.op('Round', [b.op('Neg', [b.op('Div', [smallest, scales])])], {}, { name: 'zero_codes' });
}

function symmetricScales(b: Builder, x: Value, bits: number): Value {
  const largest = reduce(b, 'ReduceMax', b.op('Abs', [x]));
  const fraction = scalar(b, 'fraction', Math.fround(1 / (2 ** (bits - 1) - 1)));
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

/** A column [n, 1] as the vector [n] that QuantizeLinear and DequantizeLinear take along axis 0. */
export function perRow(b: Builder, column: Value): Value {
  return b.op('Reshape', [column, b.ints([-1])]);
}
