import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { writeWhole } from '../../files/write-file.ts';
import { weightsBeside } from '../../pipeline/refuse-output.ts';
import type { JobPlan } from '../plan/plan.ts';
import type { JobOutcome, OutputFile } from '../summary/job-outcome.ts';
import { writeRecord } from './job-record.ts';
import { stagingIn } from './work-folder.ts';

/** A job whose files are finished and not yet in their places. */
export interface MadeJob {
  /** Name of its folder below the staging folder. */
  staging: string;
}

/** Where the finished files of a staged job are. */
export function filesIn(staging: string): string {
  return join(staging, 'files');
}

/** Notes what a staged job has become, beside its files. */
export function writeOutcome(staging: string, outcome: JobOutcome): void {
  writeWhole(join(staging, 'outcome.json'), [new TextEncoder().encode(JSON.stringify(outcome))]);
}

/** Moves a job's files to the output folder; only the run that holds the lock does. */
export function publishJob(work: string, plan: JobPlan, { staging: name }: MadeJob): JobOutcome {
  const staging = join(stagingIn(work), name);
  const outcome = JSON.parse(readFileSync(join(staging, 'outcome.json'), 'utf8')) as JobOutcome;
  writeRecord(work, plan.name, { key: plan.key, outcome });
  publish(filesIn(staging), plan, outcome.files);
  rmSync(staging, { recursive: true, force: true });
  return outcome;
}

/** The model last, since it is what others look for; weights that it no longer has beside it go with the old one. */
function publish(from: string, { name, folder }: JobPlan, files: readonly OutputFile[]): void {
  const model = `${name}.onnx`;
  const weights = weightsBeside(join(folder, model));
  const inOrder = files.toSorted((a, b) => Number(a.path === model) - Number(b.path === model));
  for (const { path } of inOrder) {
    const to = join(folder, path);
    mkdirSync(dirname(to), { recursive: true });
    renameSync(join(from, relative(dirname(name), path)), to);
  }
  if (weights && !files.some(({ path }) => path === `${model}.data`)) rmSync(weights);
}
