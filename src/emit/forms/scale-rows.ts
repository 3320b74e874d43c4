import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';

/** int32 sums [n, out] times the scales of their rows [n, 1], in one pass. */
export function scaleRows(b: Builder, sums: Value, scales: Value, name: string): Value {
  const vector = b.op('Reshape', [scales, b.ints([-1])]);
  return b.op('DequantizeLinear', [sums, vector], { axis: 0 }, { name });
}
