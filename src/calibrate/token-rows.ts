import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/** A value [..., width] with one row per token, [tokens, width] in float32. `valid` [positions] bool leaves out padding. */
export function tokenRows(b: Builder, value: Value, width: number, valid: Value | null): Value {
  const rows = b.op('Cast', [b.op('Reshape', [value, b.ints([-1, width])])], { to: 1 }, { name: 'rows' });
  return valid ? b.op('Compress', [rows, valid], { axis: 0 }, { name: 'kept' }) : rows;
}
