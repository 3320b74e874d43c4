import type { DataRecord } from '../data/record.ts';
import { tokenInput } from '../data/record.ts';

/** The token a language model has to predict after `step`; undefined at the end of the record. */
export function nextToken({ inputs }: DataRecord, step: number): number | undefined {
  const id = inputs[tokenInput].data[step + 1];
  return id === undefined ? undefined : Number(id);
}
