import type { DataRecord } from '../data/record.ts';
import { readRecords } from '../data/records.ts';
import { openTokenizer } from '../data/tokenizer.ts';

/** The records of a data file or folder, with the tokenizer a model is used with. */
export function openRecords(
  path: string,
  { tokenizer, modelPath, limit }: { tokenizer: string | null; modelPath: string; limit: number | null },
): DataRecord[] {
  const records = readRecords(path, openTokenizer(tokenizer, modelPath));
  return limit === null ? records : records.slice(0, limit);
}
