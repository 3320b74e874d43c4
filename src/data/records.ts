import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { Fault } from '../fault.ts';
import { jsonlRecords } from './jsonl.ts';
import { npzRecords } from './npz.ts';
import type { DataRecord } from './record.ts';
import type { Tokenizer } from './tokenizer.ts';

const extensions = ['.jsonl', '.npz'];
const remedy = 'name a .jsonl or .npz file, or a folder of them';

/**
 * Reads the records of a `.jsonl` or `.npz` file, or of all such files of a folder in the order of their names.
 * @throws Fault DATA_NOT_FOUND, DATA_FORMAT (another kind of file), DATA_EMPTY (no record at all), and those of
 *   {@link jsonlRecords} and {@link npzRecords}.
 */
export function readRecords(path: string, tokenizer: Tokenizer): DataRecord[] {
  const records = recordFiles(path).flatMap((file) => {
    const bytes = attempt(file, () => readFileSync(file));
    return extname(file) === '.npz' ? npzRecords(bytes, file) : jsonlRecords(bytes, file, tokenizer);
  });
  if (records.length === 0) throw fault('DATA_EMPTY', 'there is no record in the data', path);
  return records;
}

/**
 * The files whose records are meant: a file, or those of a folder that hold records.
 * @throws Fault DATA_NOT_FOUND, DATA_FORMAT
 */
export function recordFiles(path: string): string[] {
  if (!attempt(path, () => statSync(path)).isDirectory()) {
    if (!extensions.includes(extname(path))) throw fault('DATA_FORMAT', 'data is .jsonl or .npz', path);
    return [path];
  }
  const names = attempt(path, () => readdirSync(path)).filter((name) => extensions.includes(extname(name)));
  return names.toSorted().map((name) => join(path, name));
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const what = 'the data cannot be read';
    throw Fault.because(cause, { code: 'DATA_NOT_FOUND', what, where: path, remedy });
  }
}

function fault(code: string, what: string, where: string): Fault {
  return new Fault({ code, what, where, remedy });
}
