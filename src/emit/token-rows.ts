import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { codeOf } from '../tensor/dtype.ts';

/** A value [..., width] with its leading dimensions flattened, in float32: [T, width]. */
export function tokenRows(b: Builder, value: Value, width: number, name = 'rows'): Value {
  const rows = b.op('Reshape', [value, b.ints([-1, width])]);
  return b.op('Cast', [rows], { to: codeOf('float32') }, { name });
}
