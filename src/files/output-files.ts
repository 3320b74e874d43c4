import { accessSync, constants, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { writeWhole } from './write-file.ts';

/**
 * Makes a folder, and sees whether it takes files: to be asked before the work whose results go there.
 * @throws Fault OUTPUT_FAILED
 */
export function makeFolder(folder: string): void {
  guarded('the folder takes no files', folder, () => {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK | constants.X_OK);
  });
}

/** The same for the folder of a text file that `writeText` is to write. @throws Fault OUTPUT_FAILED */
export function makeFolderOf(path: string): void {
  if (isFileOrNothing(path)) makeFolder(dirname(path));
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

function guarded(what: string, where: string, work: () => void): void {
  try {
    work();
  } catch (cause) {
    const why = (cause as Error).message;
    const remedy = 'check the folder, its permissions and the free space';
    throw new Fault({ code: 'OUTPUT_FAILED', what, where, why, remedy }, { cause });
  }
}
