import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { writeFully } from './write-fully.ts';

/**
 * Writes a file under a temporary name and renames it, so that it is never seen in part.
 * @param aside folder of the temporary file, on the same disk, for those who would not have one left there by a kill
 */
export function writeWhole(path: string, parts: readonly Uint8Array[], aside = dirname(path)): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = join(aside, `${basename(path)}.${randomUUID()}.tmp`);
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
