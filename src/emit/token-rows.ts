import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/** A value [..., width] with its leading dimensions flattened, in float32: [T, width]. */
export function tokenRows(b: Builder, value: Value, width: number, name = 'rows'): Value {
  const rows = b.op('Reshape', [value, b.ints([-1, width])]);
  return b.cast(rows, 'float32', name);
}
