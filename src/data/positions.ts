import type { Batch } from './batches.ts';

/** A position of a batch that is no padding. */
export interface Position {
  /** Index of the record among all records. */
  record: number;
  /** Step within the record. */
  step: number;
  /** Row number in values that hold one row per position. */
  at: number;
}

/**
 * The real positions of a batch in a value with `total` rows. With as many rows per record as the sequence is long,
 * padding is left out; other values (one row per record, patches of an image) have none.
 */
export function* positionsOf(batch: Batch, total: number): Generator<Position> {
  const perRecord = total / batch.batch;
  const valid = perRecord === batch.sequence ? batch.valid : null;
  for (let row = 0; row < batch.records.length; row++) {
    for (let step = 0; step < perRecord; step++) {
      const at = row * perRecord + step;
      if (!valid || valid[at]) yield { record: batch.records[row], step, at };
    }
  }
}
