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
  for (let row = 0; row < batch.records.length; row++) {
    const length = perRecord === batch.sequence ? batch.lengths[row] : perRecord;
    for (let step = 0; step < length; step++) {
      yield { record: batch.records[row], step, at: row * perRecord + step };
    }
  }
}
