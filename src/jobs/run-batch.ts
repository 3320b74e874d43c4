import { globSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Crew, CrewOptions, GatherCrew } from './crew.ts';
import { errorRecord } from './error-record.ts';
import { inLanes } from './in-lanes.ts';
import { isPlanned } from './plan/plan-batch.ts';
import type { BatchPlan, JobPlan, UnplannedJob } from './plan/plan.ts';
import { lockFolder } from './store/folder-lock.ts';
import { refuseForeignResults, refuseForeignSummary } from './store/foreign-files.ts';
import { finishedOutcome } from './store/job-record.ts';
import { publishJob } from './store/publish-job.ts';
import { artefactsIn, stagingIn } from './store/work-folder.ts';
import type { JobOutcome } from './summary/job-outcome.ts';
import { faulted, unfinished } from './summary/job-outcome.ts';

export interface RunOptions extends CrewOptions {
  /** Keeps what an earlier run finished; otherwise everything is done anew. */
  resume: boolean;
  /** Called once per job, as they end. */
  ended: (outcome: JobOutcome) => void;
}

/**
 * Does the jobs of a plan, several at a time. A job that fails does not stop the others unless the batch says so. The
 * outcomes are in the order of the plan.
 * @throws Fault OUTPUT_EXISTS for a summary that is not of a batch, OUTPUT_FAILED where there can be no output, and
 *   WORK_LOCKED while another run works on it
 */
export async function runBatch(
  plan: BatchPlan,
  gather: GatherCrew,
  options: RunOptions,
): Promise<JobOutcome[]> {
  const { work } = plan;
  refuseForeignSummary(plan);
  const unlock = lockFolder(work);
  try {
    clean(work, options.resume);
    const crew = await gather(plan, options);
    try {
      const outcomes = await runJobs(plan, crew, options);
      if (outcomes.every(({ status, fault }) => status !== 'skipped' && fault === null))
        rmSync(artefactsIn(work), { recursive: true, force: true });
      return outcomes;
    } finally {
      await crew.close();
      rmSync(stagingIn(work), { recursive: true, force: true });
    }
  } finally {
    unlock();
  }
}

/** Removes what a killed run left half-done, and its results too unless they are to be kept. */
function clean(work: string, resume: boolean): void {
  rmSync(stagingIn(work), { recursive: true, force: true });
  if (!resume) rmSync(artefactsIn(work), { recursive: true, force: true });
  for (const path of globSync('**/*.tmp', { cwd: work })) rmSync(join(work, path), { force: true });
}

async function runJobs(plan: BatchPlan, crew: Crew, options: RunOptions): Promise<JobOutcome[]> {
  const { jobs, stopOnFailure } = plan;
  const outcomes = new Map<string, JobOutcome>();
  let failed = false;
  await inLanes(jobs, crew.width, async (job) => {
    const skips = options.signal.aborted || (failed && stopOnFailure);
    const outcome = skips ? unfinished(job, 'skipped', null) : await runOne(job, plan, crew, options);
    failed ||= outcome.status === 'failed';
    outcomes.set(job.name, outcome);
    options.ended(outcome);
  });
  return jobs.map(({ name }) => outcomes.get(name)!);
}

async function runOne(
  job: JobPlan | UnplannedJob,
  { work }: BatchPlan,
  crew: Crew,
  { resume }: RunOptions,
): Promise<JobOutcome> {
  if (!isPlanned(job)) return faulted(job, job.fault);
  const started = performance.now();
  const timed = (outcome: JobOutcome): JobOutcome => ({
    ...outcome,
    seconds: (performance.now() - started) / 1000,
  });
  try {
    const finished = resume ? await finishedOutcome(work, job) : null;
    if (finished) return finished;
    refuseForeignResults(job, work);
    return timed(publishJob(work, job, await crew.make(job)));
  } catch (error) {
    return timed(faulted(job, errorRecord(error, job.job.model, job.folder)));
  }
}
