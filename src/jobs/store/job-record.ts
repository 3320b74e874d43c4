import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileHash } from '../../files/file-hash.ts';
import { writeWhole } from '../../files/write-file.ts';
import { parseReport } from '../../report/report.ts';
import { contentKey } from '../plan/identity.ts';
import type { JobPlan } from '../plan/plan.ts';
import type { JobOutcome } from '../summary/job-outcome.ts';
import { judge } from '../summary/job-outcome.ts';

/** What a work folder knows of a job whose files are finished; written before they are moved into the output folder. */
export interface JobRecord {
  key: string;
  outcome: JobOutcome;
}

/** The record of a job by name; null where there is none. A damaged one counts as none. */
export function readRecord(work: string, name: string): JobRecord | null {
  const path = pathOf(work, name);
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as JobRecord;
  } catch {
    rmSync(path, { force: true });
    return null;
  }
}

export function writeRecord(work: string, name: string, record: JobRecord): void {
  writeWhole(pathOf(work, name), [new TextEncoder().encode(JSON.stringify(record))]);
}

/**
 * The outcome of a job that an earlier run finished: same key, and every file whole. Otherwise null. Gates are held
 * anew, for they may have changed since.
 */
export async function finishedOutcome(work: string, plan: JobPlan): Promise<JobOutcome | null> {
  const record = readRecord(work, plan.name);
  if (record?.key !== plan.key) return null;
  const { files } = record.outcome;
  for (const { path, bytes, sha256 } of files) {
    const file = join(plan.folder, path);
    if (statSync(file, { throwIfNoEntry: false })?.size !== bytes) return null;
    if ((await fileHash(file)) !== sha256) return null;
  }
  const report = files.find(({ path }) => basename(path) === 'report.json');
  const known = report
    ? parseReport(readFileSync(join(plan.folder, report.path), 'utf8'), report.path)
    : null;
  return { ...record.outcome, ...judge(known, plan.job.config.gates), reused: true };
}

function pathOf(work: string, name: string): string {
  return join(work, 'jobs', `${contentKey(name)}.json`);
}
