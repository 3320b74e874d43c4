import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { temporaryName } from './temporary.ts';

/**
 * Writes a file under a temporary name and renames it, so that it is never seen in part.
 * @param aside folder of the temporary file, on the same disk, for those who would not have one left there by a kill
 */
export function writeWhole(path: string, parts: readonly Uint8Array[], aside = dirname(path)): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = join(aside, temporaryName(path));
  try {
    const file = openSync(temporary, 'wx');
    try {
      for (const part of parts) writeFully(file, part);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** What one call writes at most: operating systems stop at 2 GB. */
const chunk = 1 << 30;

/** Writes all bytes, from `at` on or where the file stands: one call may be cut short, by a disk that is nearly full. */
export function writeFully(file: number, bytes: Uint8Array, at: number | null = null): void {
  for (let done = 0; done < bytes.length;) {
    const length = Math.min(chunk, bytes.length - done);
    done += writeSync(file, bytes, done, length, at === null ? null : at + done);
  }
}
