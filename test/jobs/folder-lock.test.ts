import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { lockFolder } from '../../src/jobs/store/folder-lock.ts';
import { faultOf } from '../helpers/fault-of.ts';

const newFolder = () => mkdtempSync(join(tmpdir(), 'moeq-lock-'));

/** A folder with a lock that somebody left, last touched so many seconds ago. */
function lockedBy(content: string, secondsAgo: number): string {
  const folder = newFolder();
  writeFileSync(join(folder, 'lock'), content);
  const then = Date.now() / 1000 - secondsAgo;
  utimesSync(join(folder, 'lock'), then, then);
  return folder;
}

const holder = (pid: number, host: string) => JSON.stringify({ pid, host, since: '2020-01-01' });
const deadPid = () => spawnSync(process.execPath, ['-e', '']).pid;

test('one run at a time, and the next when it is done', () => {
  const folder = newFolder();
  const unlock = lockFolder(folder);
  const fault = faultOf(() => lockFolder(folder));
  expect(fault.code).toBe('WORK_LOCKED');
  expect(fault.why).toContain(String(process.pid));
  unlock();
  lockFolder(folder)();
  expect(readdirSync(folder)).toEqual([]);
});

test.each([
  ['a dead process here', () => lockedBy(holder(deadPid(), hostname()), 1)],
  ['a silent process elsewhere', () => lockedBy(holder(1, 'elsewhere'), 120)],
  [
    'a silent process here, whose number another has now',
    () => lockedBy(holder(process.pid, hostname()), 120),
  ],
  ['nobody (a damaged lock)', () => lockedBy('', 1)],
])('a lock of %s is taken over', (_who, make) => {
  const folder = make();
  const unlock = lockFolder(folder);
  expect(JSON.parse(readFileSync(join(folder, 'lock'), 'utf8'))).toMatchObject({ pid: process.pid });
  expect(readdirSync(folder)).toEqual(['lock']);
  unlock();
  expect(existsSync(join(folder, 'lock'))).toBe(false);
});

test('who was silent too long leaves the lock of the next alone', () => {
  const folder = newFolder();
  const path = join(folder, 'lock');
  const unlockFirst = lockFolder(folder);
  utimesSync(path, 0, 0);
  const unlock = lockFolder(folder);
  const held = readFileSync(path, 'utf8');
  unlockFirst();
  expect(readFileSync(path, 'utf8')).toBe(held);
  unlock();
  expect(existsSync(path)).toBe(false);
});

test('a heartbeat touches its own lock only', () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const folder = newFolder();
  const path = join(folder, 'lock');
  const unlock = lockFolder(folder);
  const touchedAfterBeat = (): boolean => {
    utimesSync(path, 0, 0);
    vi.advanceTimersByTime(2000);
    return statSync(path).mtimeMs > 0;
  };
  expect(touchedAfterBeat()).toBe(true);
  writeFileSync(path, holder(1, 'elsewhere'));
  expect(touchedAfterBeat()).toBe(false);
  unlock();
  vi.useRealTimers();
  expect(existsSync(path)).toBe(true);
});

test.each([
  ['here', () => lockedBy(holder(process.pid, hostname()), 5)],
  ['elsewhere', () => lockedBy(holder(deadPid(), 'elsewhere'), 5)],
])('a lock of a live process %s stands', (_where, make) => {
  const folder = make();
  const before = readFileSync(join(folder, 'lock'), 'utf8');
  expect(faultOf(() => lockFolder(folder)).code).toBe('WORK_LOCKED');
  expect(readFileSync(join(folder, 'lock'), 'utf8')).toBe(before);
  expect(readdirSync(folder)).toEqual(['lock']);
});
