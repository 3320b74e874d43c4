import type { Batch } from '../../src/data/batches.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';

/** One record as a batch whose input `x` is [1, tokens, hidden]; from token `length` on it is padding. */
export function oneBatch({ rows, cols, data }: Matrix, length = rows): Batch {
  const valid = length === rows ? null : Uint8Array.from({ length: rows }, (_, t) => Number(t < length));
  return {
    feeds: { x: { dtype: 'float32', dims: [1, rows, cols], data: Float32Array.from(data) } },
    valid,
    records: [0],
    lengths: [length],
    batch: 1,
    sequence: rows,
  };
}
