import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Fault } from '../../fault.ts';
import { makeFolder } from '../../files/output-files.ts';

interface Holder {
  pid: number;
  host: string;
  since: string;
  /** Of this lock alone: the same process may have held another. */
  token: string;
}

const heartbeatMs = 2000;
/** A lock without a heartbeat for this long belongs to a process that is gone, wherever it ran. */
const silentMs = 60_000;

/**
 * Keeps a work folder to one run. The lock names process and host and is touched every two seconds; one whose
 * process is dead on this host, or that has been silent for a minute, is stale and taken over.
 * @returns a function that gives the lock back
 * @throws Fault WORK_LOCKED while another run holds it, OUTPUT_FAILED
 */
export function lockFolder(folder: string): () => void {
  makeFolder(folder);
  const path = join(folder, 'lock');
  const token = randomUUID();
  const holder: Holder = { pid: process.pid, host: hostname(), since: new Date().toISOString(), token };
  // A link appears with its content or not at all, and fails where a lock is.
  const own = join(folder, `lock.${token}`);
  writeFileSync(own, JSON.stringify(holder));
  try {
    while (!tryLink(own, path)) removeStale(path, join(folder, `stale.${token}`));
  } finally {
    rmSync(own, { force: true });
  }
  // It is another's once this process was silent for too long.
  const isOurs = (): boolean => readHolder(path)?.token === token;
  const heartbeat = setInterval(() => {
    if (isOurs()) touch(path);
  }, heartbeatMs);
  heartbeat.unref();
  return () => {
    clearInterval(heartbeat);
    if (isOurs()) rmSync(path, { force: true });
  };
}

function removeStale(path: string, aside: string): void {
  const seen = statSync(path, { throwIfNoEntry: false });
  if (!seen) return;
  const holder = readHolder(path);
  if (holder && isLive(holder, Date.now() - seen.mtimeMs)) throw locked(path, holder);
  try {
    renameSync(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  // Another run may have taken over in between: then it was its lock that was moved, and it gets it back.
  if (statSync(aside).ino !== seen.ino) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function isLive({ pid, host }: Holder, silence: number): boolean {
  return silence < silentMs && (host !== hostname() || isRunning(pid));
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

function readHolder(path: string): Holder | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder;
  } catch {
    // Gone, or not one of ours: its age decides nothing, it cannot be held.
    return null;
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

function touch(path: string): void {
  const now = new Date();
  try {
    utimesSync(path, now, now);
  } catch {
    // The work folder was removed under us; the step that writes to it next says so.
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function locked(path: string, { pid, host, since }: Holder): Fault {
  return new Fault({
    code: 'WORK_LOCKED',
    what: 'another run is at work in this folder',
    where: path,
    why: `process ${pid} on ${host} holds it since ${since}`,
    remedy: 'wait for it, or give this run another output or work folder',
  });
}
