import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/** Tokens in integers: uint8 codes [n, channels] around `zeroPoint`, and one scale per token [n, 1]. */
export interface TokenCodes {
  codes: Value;
  scales: Value;
}

/** The code that stands for zero: half of the range of `bits`, so that codes are never negative. */
export function zeroPointOf(bits: number): number {
  return 2 ** (bits - 1);
}

/**
 * Dynamic symmetric per-token quantization of [n, channels] to unsigned codes of `bits` bits, in float32; the
 * arithmetic of `quantizeActivations` in the quantize room. Codes are unsigned because ONNX Runtime multiplies
 * uint8 by int8 many times faster than int8 by int8.
 */
export function quantizeTokens(b: Builder, x: Value, bits: number): TokenCodes {
  const scales = tokenScales(b, x, bits);
  const perRow = b.op('Reshape', [scales, b.ints([-1])]);
  const zero = b.constant('zero', 'uint8', [], [zeroPointOf(bits)]);
  const zeros = b.op('Expand', [zero, b.op('Shape', [perRow])]);
  return { codes: b.op('QuantizeLinear', [x, perRow, zeros], { axis: 0 }, { name: 'codes' }), scales };
}

/** One scale per row of [n, channels], [n, 1]: the largest magnitude becomes the largest code. */
export function tokenScales(b: Builder, x: Value, bits: number): Value {
  const maxCode = 2 ** (bits - 1) - 1;
  // Not axis -1: without rows ONNX Runtime 1.30 then gives [0, channels] instead of [0, 1].
  const largest = b.op('ReduceMax', [b.op('Abs', [x]), b.ints([1])], { keepdims: 1 }, { name: 'absmax' });
  const fraction = b.constant('fraction', 'float32', [], [Math.fround(1 / maxCode)]);
  // The smallest normal float32 keeps a token of zeros from dividing by zero.
  const tiny = b.constant('tiny', 'float32', [], [2 ** -126]);
  return b.op('Max', [b.op('Mul', [largest, fraction]), tiny], {}, { name: 'scales' });
}
