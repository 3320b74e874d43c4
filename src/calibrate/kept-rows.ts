import { tokenRows } from '../emit/token-rows.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/**
 * A value [..., width] with one row per token that is no padding, [tokens, width] in float32; for `valid` see {@link
 * keptFlags}.
 */
export function keptRows(b: Builder, value: Value, width: number, valid: Value | null): Value {
  const rows = tokenRows(b, value, width);
  return valid ? b.op('Compress', [rows, keptFlags(b, rows, valid)], { axis: 0 }, { name: 'kept' }) : rows;
}

/**
 * Which of `rows` [T, …] are no padding, [T] bool. `valid` [batch, sequence + 1] (see `validFlags`) tells it of every
 * position, and in its last column of whole records: that counts where a layer has another number of rows per record than
 * the sequence has positions (the decoder behind an encoder, patches of an image). The rule of `positionsOf`.
 */
export function keptFlags(b: Builder, rows: Value, valid: Value): Value {
  const batch = b.op('Shape', [valid], { start: 0, end: 1 });
  const width = b.op('Shape', [valid], { start: 1, end: 2 });
  const last = b.op('Sub', [width, b.ints([1])]);
  const count = b.op('Shape', [rows], { start: 0, end: 1 });
  const perRecord = b.op('Div', [count, batch]);
  const row = b.op('Range', [b.ints(0), b.op('Squeeze', [count]), b.ints(1)]);
  const step = b.op('Mod', [row, perRecord]);
  const column = b.op('Where', [b.op('Equal', [perRecord, last]), step, last]);
  const at = b.op('Add', [b.op('Mul', [b.op('Div', [row, perRecord]), width]), column]);
  return b.op('Gather', [b.op('Reshape', [valid, b.ints([-1])]), at], {}, { name: 'keep' });
}
