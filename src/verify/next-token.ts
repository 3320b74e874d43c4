import type { DataRecord } from '../data/record.ts';
import { maskInput, tokenInput } from '../data/record.ts';

/** The token a language model has to predict after `step`; undefined at the end of the record, and before padding. */
export function nextToken({ inputs }: DataRecord, step: number): number | undefined {
  const mask = inputs[maskInput]?.data[step + 1];
  if (mask !== undefined && Number(mask) === 0) return undefined;
  const id = inputs[tokenInput].data[step + 1];
  return id === undefined ? undefined : Number(id);
}
