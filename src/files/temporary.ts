import { randomUUID } from 'node:crypto';
import { rmdirSync, rmSync } from 'node:fs';
import { basename } from 'node:path';

/** A name for what is to become the file at `path`. Names end at 255 bytes, which characters may take three or four of. */
export function temporaryName(path: string): string {
  return `${basename(path).slice(0, 48)}.${randomUUID()}.tmp`;
}

const present = new Set<string>();

/**
 * Remembers a temporary file or folder until the function it returns removes it, so that it goes however the process
 * ends.
 */
export function temporary(path: string): () => void {
  present.add(path);
  return () => {
    rmSync(path, { recursive: true, force: true });
    present.delete(path);
  };
}

const made = new Set<string>();

/**
 * Remembers folders, outermost first, that were made for results; the function it returns forgets them, and takes away
 * those that are empty where there are no results. So does the end of the process.
 */
export function madeFolders(folders: readonly string[]): (hasResults: boolean) => void {
  for (const folder of folders) made.add(folder);
  return (hasResults) => {
    if (!hasResults) folders.toReversed().forEach(removeEmpty);
    for (const folder of folders) made.delete(folder);
  };
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // There is something in it, or nothing of it.
  }
}

/** Removes what is temporary and still there; for a process that is about to end. */
export function removeTemporaries(): void {
  for (const path of present) rmSync(path, { recursive: true, force: true });
  [...made].toReversed().forEach(removeEmpty);
}
