import { accessSync, constants, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Fault } from '../fault.ts';
import { madeFolders } from './temporary.ts';
import { writeWhole } from './write-file.ts';

/**
 * Makes a folder, and sees whether it takes files: to be asked before the work whose results go there.
 * @returns those that were not there, outermost first
 * @throws Fault OUTPUT_FAILED
 */
export function makeFolder(folder: string): string[] {
  return guarded('the folder takes no files', folder, () => {
    const first = mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK | constants.X_OK);
    return first === undefined ? [] : pathsBetween(resolve(first), resolve(folder));
  });
}

function pathsBetween(outer: string, inner: string): string[] {
  if (inner === outer || inner === dirname(inner)) return [inner];
  return [...pathsBetween(outer, dirname(inner)), inner];
}

/**
 * Does work whose results go into folders, which are made before it; where it fails, those that were made for it and
 * hold nothing go again.
 * @throws Fault OUTPUT_FAILED, and those of the work
 */
export async function inFolders<T>(folders: readonly string[], work: () => Promise<T>): Promise<T> {
  const undo: ((hasResults: boolean) => void)[] = [];
  let isDone = false;
  try {
    for (const folder of folders) undo.unshift(madeFolders(makeFolder(folder)));
    const result = await work();
    isDone = true;
    return result;
  } finally {
    for (const end of undo) end(isDone);
  }
}

/** The folders of a text file that `writeText` is to write: none for what is no file. */
export function foldersOf(path: string): string[] {
  return isFileOrNothing(path) ? [dirname(path)] : [];
}

/**
 * Writes a text file, and the folders it lies in; it appears whole or not at all. What is no file, such as `/dev/stdout`,
 * is written to where it is.
 * @param aside see `writeWhole`
 * @throws Fault OUTPUT_FAILED
 */
export function writeText(path: string, text: string, aside?: string): void {
  guarded('the file could not be written', path, () => {
    if (isFileOrNothing(path)) writeWhole(path, [new TextEncoder().encode(text)], aside);
    else writeFileSync(path, text);
  });
}

function isFileOrNothing(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    // Nothing, or out of sight: writing says so.
    return true;
  }
}

function guarded<T>(what: string, where: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const remedy = 'check the folder, its permissions and the free space';
    throw Fault.because(cause, { code: 'OUTPUT_FAILED', what, where, remedy });
  }
}
