import { countOf } from '../tensor/dtype.ts';
import { companionOf } from './companions.ts';
import { checkRecord, layoutOf, lengthOf, paddedShape, type Layout } from './layout.ts';
import type { Feed, ModelInput } from './model-input.ts';
import { allocate, convertArray, copyInto, type NumericType } from './numeric-array.ts';
import type { DataRecord } from './record.ts';
import { maskInput } from './record.ts';

/** Records made ready for one run of a model. */
export interface Batch {
  feeds: Record<string, Feed>;
  /** [batch * sequence], 1 where a position belongs to a record and 0 where it is padding; null: no padding. */
  valid: Uint8Array | null;
  /** Index of the record each row holds; rows beyond them are padding. */
  records: number[];
  /** Positions of each of those records, before padding. */
  lengths: number[];
  batch: number;
  sequence: number;
}

/**
 * How many positions a batch holds at most, unless one record alone has more: their activations are small beside the
 * weights of the layers they go through.
 */
export const mostPositions = 4096;

/**
 * Turns records into batches that hold every record once. Records whose inputs have equal shapes share batches, so
 * nothing is padded unless the model fixes its sequence length (records are then padded with zeros on the right) or
 * its batch size (the last record is then repeated: rows of zeros could turn into NaN in an attention without
 * a single key). The order depends on the records alone.
 *
 * What follows from the tokens (attention_mask, position_ids, token_type_ids, empty past_key_values) is added.
 * Padding on the right leaves the results of a causal model as they are; one that attends both ways needs to
 * declare an attention_mask.
 * @throws Fault, before the first batch, when a record does not fit the model (see {@link checkRecord}), and
 *   DATA_INPUT_TYPE when a value does not fit the declared type.
 */
export function* makeBatches(
  records: readonly DataRecord[],
  inputs: readonly ModelInput[],
  maxPositions = mostPositions,
): Generator<Batch, void> {
  const layout = layoutOf(inputs);
  for (const record of records) checkRecord(record, layout);
  for (const indices of groupByShape(records, layout)) {
    const positions = layout.sequence ?? lengthOf(records[indices[0]], layout);
    const size = layout.batch ?? Math.max(1, Math.floor(maxPositions / positions));
    for (let start = 0; start < indices.length; start += size) {
      yield assemble(records, indices.slice(start, start + size), layout);
    }
  }
}

/** Indices of records whose padded inputs have the same names and shapes, in order of first appearance. */
function groupByShape(records: readonly DataRecord[], layout: Layout): Iterable<number[]> {
  const groups = new Map<string, number[]>();
  records.forEach((record, index) => {
    const names = Object.keys(record.inputs).toSorted();
    const key = JSON.stringify(names.map((name) => [name, paddedShape(record, name, layout)]));
    const group = groups.get(key);
    if (group) group.push(index);
    else groups.set(key, [index]);
  });
  return groups.values();
}

function assemble(records: readonly DataRecord[], indices: number[], layout: Layout): Batch {
  const members = indices.map((index) => records[index]);
  const lengths = members.map((record) => lengthOf(record, layout));
  const batch = layout.batch ?? members.length;
  const sequence = layout.sequence ?? lengths[0];
  const rows = Array.from({ length: batch }, (_, row) => members[row] ?? members.at(-1)!);
  const rowLengths = rows.map((record) => lengthOf(record, layout));
  const entries = layout.inputs.map((input): [string, Feed] => [
    input.name,
    input.name in rows[0].inputs
      ? stack(rows, input.name, input.dtype, layout)
      : companionOf(input, input.dtype)!(rowLengths, sequence),
  ]);
  const feeds = Object.fromEntries(entries);
  return {
    feeds,
    valid: validity(lengths, batch, sequence, rows[0].inputs[maskInput] ? feeds[maskInput] : null),
    records: indices,
    lengths,
    batch,
    sequence,
  };
}

/** Stacks one input of all rows; padding is at the end of a row's first dimension, so rows are copied whole. */
function stack(rows: readonly DataRecord[], name: string, dtype: NumericType, layout: Layout): Feed {
  const shape = paddedShape(rows[0], name, layout);
  const count = countOf(shape);
  const data = allocate(dtype, rows.length * count);
  rows.forEach(({ inputs, source }, row) => {
    copyInto(data, convertArray(inputs[name], dtype, `${source}, input ${name}`), row * count);
  });
  return { dtype, dims: [rows.length, ...shape], data };
}

/** `mask` is what records say of their positions themselves, [batch, sequence]. */
function validity(
  lengths: readonly number[],
  batch: number,
  sequence: number,
  mask: Feed | null | undefined,
): Uint8Array | null {
  const valid = new Uint8Array(batch * sequence);
  lengths.forEach((length, row) => valid.fill(1, row * sequence, row * sequence + length));
  if (mask?.data.length === valid.length)
    mask.data.forEach((value, i) => Number(value) === 0 && (valid[i] = 0));
  return valid.every(Boolean) ? null : valid;
}

/** The validity of a batch as a model input: [batch, sequence + 1], of every position, then of the record as such. */
export function validFlags({ valid, records, batch, sequence }: Batch): {
  dtype: 'bool';
  dims: number[];
  data: Uint8Array;
} {
  const width = sequence + 1;
  const data = new Uint8Array(batch * width);
  for (const row of records.keys()) {
    data.fill(1, row * width, (row + 1) * width);
    if (valid) data.set(valid.subarray(row * sequence, (row + 1) * sequence), row * width);
  }
  return { dtype: 'bool', dims: [batch, width], data };
}
