import type { FaultRecord } from '../fault.ts';
import { Fault, isFault } from '../fault.ts';

/**
 * Any error as data that crosses threads and files. A full disk is told apart, since the user can mend it and go on;
 * what nobody foresaw keeps its stack.
 */
export function errorRecord(error: unknown, where: string): FaultRecord {
  if (isFault(error)) {
    const inner = diskFull(error.cause, where);
    return inner ?? Fault.prototype.toRecord.call(error);
  }
  return diskFull(error, where) ?? unforeseen(error, where);
}

function diskFull(error: unknown, where: string): FaultRecord | null {
  const { code, path } = (error ?? {}) as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return null;
  return {
    code: 'DISK_FULL',
    what: 'there is no space left to write results',
    where: path ?? where,
    why: (error as Error).message,
    remedy: 'free some space and run again with --resume: what is finished is kept',
  };
}

function unforeseen(error: unknown, where: string): FaultRecord {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 'INTERNAL', what: 'this is a defect of moeq, please report it', where, why: detail };
}
