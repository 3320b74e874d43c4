import { existsSync, globSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Piscina } from 'piscina';
import { Fault } from '../fault.ts';
import { errorRecord } from './error-record.ts';
import { lockFolder } from './folder-lock.ts';
import type { JobOutcome } from './job-outcome.ts';
import { unfinished } from './job-outcome.ts';
import { finishedOutcome, readRecord } from './job-record.ts';
import type { JobProgress, JobTask } from './job-worker.ts';
import { memoryBudget } from './memory-budget.ts';
import type { BatchPlan, JobPlan, UnplannedJob } from './plan.ts';
import { isPlanned } from './plan-batch.ts';
import { workerPool } from './worker-pool.ts';

export interface RunOptions {
  /** Keeps what an earlier run finished; otherwise everything is done anew. */
  resume: boolean;
  /** Stops the run after the items under way. */
  signal: AbortSignal;
  progress: (event: JobProgress) => void;
  /** Called once per job, as they end. */
  ended: (outcome: JobOutcome) => void;
}

/**
 * Does the jobs of a plan, several at a time, each in a thread of its own. A job that fails does not stop the others
 * unless the batch says so. The outcomes are in the order of the plan.
 * @throws Fault WORK_LOCKED while another run works on the same output
 */
export async function runBatch(plan: BatchPlan, options: RunOptions): Promise<JobOutcome[]> {
  const { work, concurrency } = plan;
  const unlock = lockFolder(work);
  const pool = workerPool('job-worker', concurrency);
  pool.on('message', (event: JobProgress) => options.progress(event));
  try {
    clean(work, options.resume);
    const outcomes = await runJobs(plan, pool, options);
    if (outcomes.every(({ status }) => status === 'done' || status === 'gates'))
      rmSync(join(work, 'artefacts'), { recursive: true, force: true });
    return outcomes;
  } finally {
    await pool.destroy();
    unlock();
  }
}

/** Removes what a killed run left half-done, and its results too unless they are to be kept. */
function clean(work: string, resume: boolean): void {
  mkdirSync(work, { recursive: true });
  rmSync(join(work, 'staging'), { recursive: true, force: true });
  if (!resume) rmSync(join(work, 'artefacts'), { recursive: true, force: true });
  for (const path of globSync('**/*.tmp', { cwd: work })) rmSync(join(work, path), { force: true });
}

async function runJobs(plan: BatchPlan, pool: Piscina, options: RunOptions): Promise<JobOutcome[]> {
  const { concurrency, jobs, stopOnFailure, memory } = plan;
  const budget = memoryBudget(memory);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  options.signal.addEventListener('abort', () => Atomics.store(stop, 0, 1));
  const outcomes = new Map<string, JobOutcome>();
  const queue = jobs.values();
  let failed = false;
  const lane = async (): Promise<void> => {
    for (const job of queue) {
      const skips = options.signal.aborted || (failed && stopOnFailure);
      const outcome = skips ? skipped(job) : await runOne(job, { plan, pool, stop, budget, options });
      failed ||= outcome.status === 'failed';
      outcomes.set(job.name, outcome);
      options.ended(outcome);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  return jobs.map(({ name }) => outcomes.get(name)!);
}

interface Run {
  plan: BatchPlan;
  pool: Piscina;
  stop: Int32Array;
  budget: ReturnType<typeof memoryBudget>;
  options: RunOptions;
}

async function runOne(job: JobPlan | UnplannedJob, run: Run): Promise<JobOutcome> {
  if (!isPlanned(job)) return unfinished(describe(job), 'failed', job.fault);
  const { plan, pool, stop, budget, options } = run;
  const { work, threads, memory, concurrency } = plan;
  try {
    const finished = options.resume ? await finishedOutcome(work, job) : null;
    if (finished) return finished;
    refuseForeignFiles(job, work);
    const release = await budget.reserve(job.memory);
    try {
      const share = { threads: Math.floor(threads / concurrency), memory: Math.floor(memory / concurrency) };
      const task: JobTask = { plan: job, work, stop, ...share };
      return (await pool.run(task)) as JobOutcome;
    } finally {
      release();
    }
  } catch (error) {
    return unfinished(describe(job), 'failed', errorRecord(error, job.job.model, job.folder));
  }
}

/** Files that no run of a batch made here are not overwritten. */
function refuseForeignFiles({ name, folder }: JobPlan, work: string): void {
  const path = join(folder, `${name}.onnx`);
  if (!existsSync(path) || readRecord(work, name)) return;
  throw new Fault({
    code: 'OUTPUT_EXISTS',
    what: 'a file is in the way that no run of a batch made',
    where: path,
    remedy: 'move it away, or give another output folder',
  });
}

function skipped(job: JobPlan | UnplannedJob): JobOutcome {
  return unfinished(describe(job), 'skipped', null);
}

function describe({ name, job }: JobPlan | UnplannedJob): { name: string; model: string; recipe: string } {
  return { name, model: job.model, recipe: job.recipe };
}
