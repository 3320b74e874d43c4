import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { codeOf } from '../tensor/dtype.ts';
import { perRow, tokenGrid, zeroPointsOf } from './quantize-tokens.ts';

/**
 * The float32 values that dynamic per-token quantization of [n, channels] to `bits` bits stands for, by standard
 * QuantizeLinear and DequantizeLinear with computed scales and zero points; `x` itself when bits are null. For `clip` see `ActivationClips`.
 */
export function fakeQuantize(b: Builder, x: Value, bits: number | null, clip = 1): Value {
  if (bits === null) return x;
  const grid = tokenGrid(b, x, bits, clip);
  const { vector } = grid;
  const zeroPoints = zeroPointsOf(b, grid);
  const stored = zeroPoints && b.op('Cast', [perRow(b, zeroPoints)], { to: codeOf('uint4') });
  const inputs = stored ? [x, vector, stored] : [x, vector];
  const attributes = stored ? { axis: 0 } : { axis: 0, output_dtype: codeOf('int8') };
  const codes = b.op('QuantizeLinear', inputs, attributes, { name: 'codes' });
  return b.op(
    'DequantizeLinear',
    stored ? [codes, vector, stored] : [codes, vector],
    { axis: 0 },
    { name: 'grid' },
  );
}
