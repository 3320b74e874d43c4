import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../../fault.ts';
import type { BatchPlan, JobPlan } from '../plan/plan.ts';
import { summaryFiles } from '../summary/write-summary.ts';
import { readRecord } from './job-record.ts';

/**
 * Files that no run of a batch made are not overwritten: where a job has no record, none of its files is a batch's.
 * @throws Fault OUTPUT_EXISTS
 */
export function refuseForeignResults({ name, folder }: JobPlan, work: string): void {
  if (readRecord(work, name)) return;
  refuse(['.onnx', '.onnx.data', '.report'].map((end) => join(folder, name + end)));
}

/** The same for what tells of all jobs, in a folder where no batch has run. @throws Fault OUTPUT_EXISTS */
export function refuseForeignSummary({ output, work }: BatchPlan): void {
  if (existsSync(work)) return;
  refuse(summaryFiles.map((name) => join(output, name)));
}

function refuse(paths: readonly string[]): void {
  const path = paths.find((each) => existsSync(each));
  if (path === undefined) return;
  throw new Fault({
    code: 'OUTPUT_EXISTS',
    what: 'a file is in the way that no run of a batch made',
    where: path,
    remedy: 'move it away, or give another output folder',
  });
}
