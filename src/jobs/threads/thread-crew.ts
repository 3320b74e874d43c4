import type { Crew, CrewOptions } from '../crew.ts';
import { unlessFault } from '../error-record.ts';
import type { BatchPlan } from '../plan/plan.ts';
import type { MadeJob } from '../store/publish-job.ts';
import { storePlan } from '../store/work-folder.ts';
import type { JobTask, TaskProgress } from './job-worker.ts';
import { memoryBudget } from './memory-budget.ts';
import { workerPool } from './worker-pool.ts';

/** The threads of this process: each job in a thread of its own, begun when there is memory for it. */
export function threadCrew(
  { work, concurrency, threads, memory }: BatchPlan,
  { signal, progress }: CrewOptions,
): Crew {
  const pool = workerPool('job-worker', concurrency);
  const budget = memoryBudget(memory);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  signal.addEventListener('abort', () => Atomics.store(stop, 0, 1));
  pool.on('message', ({ task, stage, detail }: TaskProgress) => progress({ job: task, stage, detail }));
  const share = { threads: Math.floor(threads / concurrency), memory: Math.floor(memory / concurrency) };
  return {
    width: concurrency,
    async make(job) {
      const release = await budget.reserve(job.memory);
      try {
        const task: JobTask = { work, plan: storePlan(work, job), task: job.name, stop, ...share };
        return unlessFault<MadeJob>(await pool.run(task));
      } finally {
        release();
      }
    },
    close: () => pool.destroy(),
  };
}
