import { Fault } from '../fault.ts';
import { countOf } from '../tensor/dtype.ts';
import type { NumericArray } from './numeric-array.ts';

/**
 * Splits batch-first arrays into one set of inputs per row of the batch; rows are views.
 * @throws Fault DATA_RECORD when there is no array, an array has no batch dimension, the batch sizes differ
 *   or a row is empty.
 */
export function rowsOf(arrays: Record<string, NumericArray>, where: string): Record<string, NumericArray>[] {
  const entries = Object.entries(arrays);
  const batch = entries[0]?.[1].shape[0];
  if (batch === undefined) throw fault(where, 'there is no input with a batch dimension');
  for (const [name, { shape }] of entries) {
    if (shape[0] !== batch)
      throw fault(where, `input ${name} has batch ${shape[0] ?? 'none'}, another has ${batch}`);
    if (countOf(shape) === 0) throw fault(where, `input ${name} is empty`);
  }
  return Array.from({ length: batch }, (_, row) =>
    Object.fromEntries(entries.map(([name, array]) => [name, rowOf(array, row)])),
  );
}

function rowOf({ dtype, shape, data }: NumericArray, row: number): NumericArray {
  const rowShape = shape.slice(1);
  const count = countOf(rowShape);
  return { dtype, shape: rowShape, data: data.subarray(row * count, (row + 1) * count) };
}

function fault(where: string, what: string): Fault {
  return new Fault({
    code: 'DATA_RECORD',
    what,
    where,
    remedy: 'give every input as an array whose first dimension is the batch',
  });
}
