import { createHash, hash, randomUUID } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { deserialize, serialize } from 'node:v8';

/** Results on disk by content key. Whatever is there is whole: files appear by renaming and carry a checksum. */
export interface ArtefactStore {
  has(key: string): boolean;
  /** The value, or undefined where there is none or the file is damaged, which is then removed. */
  read(key: string): unknown;
  write(key: string, value: unknown): void;
  remove(key: string): void;
}

const checksumBytes = 32;

/** A store of plain data (typed arrays included) in a folder that several processes may share. */
export function openStore(folder: string): ArtefactStore {
  const pathOf = (key: string): string => join(folder, key.slice(0, 2), key.slice(2));
  return {
    has: (key) => statSync(pathOf(key), { throwIfNoEntry: false }) !== undefined,
    read(key) {
      const bytes = readIfThere(pathOf(key));
      if (!bytes) return undefined;
      const payload = bytes.subarray(checksumBytes);
      const expected = bytes.subarray(0, checksumBytes).toString('hex');
      if (hash('sha256', payload) === expected) return deserialize(payload);
      this.remove(key);
      return undefined;
    },
    remove: (key) => rmSync(pathOf(key), { force: true }),
    write(key, value) {
      const payload = serialize(value);
      writeWhole(pathOf(key), [createHash('sha256').update(payload).digest(), payload]);
    },
  };
}

/** Writes a file under a temporary name beside it and renames it, so that it is never seen in part. */
export function writeWhole(path: string, parts: readonly Uint8Array[]): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = openSync(temporary, 'wx');
    try {
      for (const part of parts) writeAll(file, part);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** A single write may be cut short, by its size or by a disk that is nearly full. */
function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
