import { Fault } from '../fault.ts';
import type { NumericArray } from './numeric-array.ts';

/**
 * A nested JSON array as a dense one: bool when all its elements are, float64 otherwise.
 * @param where names the array in Faults.
 * @throws Fault DATA_RECORD when it is ragged or holds anything but numbers and booleans.
 */
export function jsonArray(value: unknown, where: string): NumericArray {
  const shape: number[] = [];
  for (let inner = value; Array.isArray(inner); inner = inner[0] as unknown) shape.push(inner.length);
  const flat: number[] = [];
  const allBool = collect(value, shape, 0, flat, where);
  const dtype = allBool && flat.length > 0 ? 'bool' : 'float64';
  return { dtype, shape, data: dtype === 'bool' ? Uint8Array.from(flat) : Float64Array.from(flat) };
}

/** Appends the elements below `value` to `flat`; true when all of them are booleans. */
function collect(value: unknown, shape: number[], depth: number, flat: number[], where: string): boolean {
  if (depth < shape.length) {
    if (!Array.isArray(value) || value.length !== shape[depth]) throw fault(where, 'the array is ragged');
    let allBool = true;
    for (const inner of value) allBool = collect(inner, shape, depth + 1, flat, where) && allBool;
    return allBool;
  }
  const isBool = typeof value === 'boolean';
  if (!isBool && (typeof value !== 'number' || (Number.isInteger(value) && !Number.isSafeInteger(value)))) {
    throw fault(where, `${JSON.stringify(value)} is not a number this format can hold`);
  }
  flat.push(Number(value));
  return isBool;
}

function fault(where: string, what: string): Fault {
  return new Fault({
    code: 'DATA_RECORD',
    what,
    where,
    remedy: 'give nested lists of numbers, all of one length',
  });
}
