import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { tokenScales } from './quantize-tokens.ts';

/**
 * The float32 values that dynamic per-token quantization of [n, channels] to `bits` bits stands for, by standard
 * QuantizeLinear and DequantizeLinear with a computed scale; `x` itself when bits are null.
 */
export function fakeQuantize(b: Builder, x: Value, bits: number | null): Value {
  if (bits === null) return x;
  const scales = b.op('Reshape', [tokenScales(b, x, bits), b.ints([-1])], {}, { name: 'token_scales' });
  const dtype = bits === 8 ? int8 : int4;
  const codes = b.op('QuantizeLinear', [x, scales], { axis: 0, output_dtype: dtype }, { name: 'codes' });
  return b.op('DequantizeLinear', [codes, scales], { axis: 0 }, { name: 'grid' });
}

/** TensorProto.DataType codes. */
const int8 = 3;
const int4 = 22;
