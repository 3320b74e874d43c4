import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/**
 * The rows of real tokens, below one row of zeros: ONNX leaves reductions over no rows open, and a zero row changes
 * no maximum of magnitudes and no product sum. `keep` is null where every row counts.
 */
export function keptRows(b: Builder, x: Value, keep: Value | null, width: number): Value {
  const kept = keep ? b.op('Compress', [x, keep], { axis: 0 }) : x;
  const zeros = b.constant('zeros', 'float32', [1, width], new Float32Array(width));
  return b.op('Concat', [zeros, kept], { axis: 0 }, { name: 'rows' });
}

/** How many rows were kept, [1] int64. */
export function countRows(b: Builder, rows: Value): Value {
  const withZeroRow = b.op('Shape', [rows], { start: 0, end: 1 });
  return b.op('Sub', [withZeroRow, b.ints([1])], {}, { name: 'count' });
}
