import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import { codeOf } from '../../tensor/dtype.ts';
import { perRow, tokenGrid, zeroPointsOf } from './quantize-tokens.ts';

/**
 * The float32 values that dynamic per-token quantization of [n, channels] to `bits` bits stands for, by standard
 * QuantizeLinear and DequantizeLinear with computed scales and zero points; `x` itself when bits are null. For `clip` see
 * `ActivationClips`.
 */
export function fakeQuantize(b: Builder, x: Value, bits: number | null, clip = 1): Value {
  if (bits === null) return x;
  const grid = tokenGrid(b, x, bits, clip);
  const { vector } = grid;
  const zeroPoints = zeroPointsOf(b, grid);
  if (!zeroPoints) {
    const codes = quantized(b, [x, vector], { axis: 0, output_dtype: codeOf('int8') });
    return dequantized(b, [codes, vector]);
  }
  // Both types stop at code 0; the first also stops at the last of 4 bits, and only it.
  const type = clip < 1 && bits < 4 ? 'uint8' : 'uint4';
  const zeros = b.op('Cast', [perRow(b, zeroPoints)], { to: codeOf(type) });
  const codes = quantized(b, [x, vector, zeros], { axis: 0 });
  const last = type === 'uint8' && b.constant('last_code', type, [], [2 ** bits - 1]);
  return dequantized(b, [last ? b.op('Clip', [codes, null, last]) : codes, vector, zeros]);
}

function quantized(b: Builder, inputs: Value[], attributes: Record<string, number>): Value {
  return b.op('QuantizeLinear', inputs, attributes, { name: 'codes' });
}

function dequantized(b: Builder, inputs: Value[]): Value {
  return b.op('DequantizeLinear', inputs, { axis: 0 }, { name: 'grid' });
}
