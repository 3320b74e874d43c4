import type { FaultRecord } from '../fault.ts';
import { Fault, isFault } from '../fault.ts';

/**
 * Any error as data that crosses threads and files. A full disk is told apart, since the user can mend it and go on;
 * what nobody foresaw keeps its stack.
 * @param where what was worked on
 * @param folder where results were written to
 */
export function errorRecord(error: unknown, where: string, folder: string): FaultRecord {
  if (isFault(error)) return diskFull(error.cause, folder) ?? error.toRecord();
  return diskFull(error, folder) ?? refusedFile(error) ?? unforeseen(error, where);
}

/** What a thread handed back. @throws Fault where that is the record of one */
export function unlessFault<T>(result: T | FaultRecord): T {
  if (typeof result === 'object' && result !== null && 'code' in result) throw Fault.fromRecord(result);
  return result;
}

/** True where a conversion was done and its own check of what it wrote failed: a gate that every conversion has. */
export function isMissedGate({ code }: Pick<FaultRecord, 'code'>): boolean {
  return code === 'PARITY';
}

/** What the operating system says where nothing more can be written. */
export function isDiskFull(error: unknown): error is Error {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

function diskFull(error: unknown, folder: string): FaultRecord | null {
  if (!isDiskFull(error)) return null;
  return {
    code: 'DISK_FULL',
    what: 'there is no space left to write results',
    where: folder,
    why: error.message,
    remedy: 'free some space and run again with --resume: what is finished is kept',
  };
}

/** What the operating system would not do with a file; null for any other error. */
export function refusedFile(error: unknown): FaultRecord | null {
  if (!(error instanceof Error)) return null;
  const { syscall, path, message } = error as NodeJS.ErrnoException;
  if (syscall === undefined || path === undefined) return null;
  const remedy = 'check that it is there, how long its name is, and who may use it';
  return { code: 'FILE_FAILED', what: 'a file could not be used', where: path, why: message, remedy };
}

function unforeseen(error: unknown, where: string): FaultRecord {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 'INTERNAL', what: 'this is a defect of moeq, please report it', where, why: detail };
}

/** The Fault of work that a stopped run leaves undone; `where` names the job. */
export function interrupted(where: string): Fault {
  return new Fault({
    code: 'INTERRUPTED',
    what: 'the run was stopped before this job was finished',
    where,
    remedy: 'run again with --resume: what is finished is kept',
  });
}
