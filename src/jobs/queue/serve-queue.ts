import type { Job } from 'bullmq';
import { Fault } from '../../fault.ts';
import { errorRecord, unlessFault } from '../error-record.ts';
import type { MadeJob } from '../store/publish-job.ts';
import { openWork } from '../store/work-folder.ts';
import type { ItemTask } from '../threads/item-worker.ts';
import type { JobTask, TaskProgress } from '../threads/job-worker.ts';
import { memoryBudget } from '../threads/memory-budget.ts';
import { workerPool } from '../threads/worker-pool.ts';
import type { QueueClient } from './queue-client.ts';
import { queueName } from './queue-client.ts';
import { readMessage } from './queue-message.ts';
import { inputsCheck } from './same-inputs.ts';

export interface ServeOptions {
  /** Items done at a time, each in a thread of its own. */
  jobs: number;
  /** Threads of all items together, ONNX Runtime's included. */
  threads: number;
  /** Bytes that items at a time may need together. */
  memory: number;
  /** After this silence a worker counts as gone, and its items go to others. */
  silenceMs: number;
  /** Ends the service once the items under way are done. */
  signal: AbortSignal;
  begun: (what: string) => void;
  notice: (text: string) => void;
}

/** Times an item may be lost with its worker before it is given up: it may be what kills them. */
const maxStalledCount = 3;

/** Does the items of a queue until it is told to stop. What goes wrong with an item is told to its run. */
export async function serveQueue(client: QueueClient, options: ServeOptions): Promise<void> {
  const { connection, UnrecoverableError } = client;
  const { jobs, silenceMs, signal, notice } = options;
  const bench = openBench(options);
  const work = async (job: Job<unknown, unknown>): Promise<unknown> => {
    try {
      return await bench.work(job);
    } catch (error) {
      throw new UnrecoverableError(JSON.stringify(errorRecord(error, job.id!, 'the work folder')));
    }
  };
  const worker = new client.Worker(queueName, work, {
    connection,
    concurrency: jobs,
    lockDuration: silenceMs,
    stalledInterval: silenceMs,
    maxStalledCount,
  });
  worker.on('error', ({ message }) => notice(`the queue: ${message}`));
  try {
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await worker.close();
  } finally {
    await bench.close();
  }
}

interface Bench {
  work(job: Job<unknown, unknown>): Promise<MadeJob | null>;
  close(): Promise<void>;
}

/** The threads of a worker. */
function openBench({ jobs, threads, memory, begun }: ServeOptions): Bench {
  const items = workerPool('item-worker', jobs);
  const emits = workerPool('job-worker', jobs);
  const budget = memoryBudget(memory);
  const active = new Map<string, Job>();
  const requireSameInputs = inputsCheck();
  emits.on('message', ({ task, ...event }: TaskProgress) => {
    // Told or not, the work goes on.
    active
      .get(task)
      ?.updateProgress(event)
      .catch(() => {});
  });

  const share = { threads: Math.max(1, Math.floor(threads / jobs)), memory: Math.floor(memory / jobs) };
  const run = async (job: Job, task: ItemTask): Promise<MadeJob | null> => {
    if (task.item !== 'emit') return unlessFault<null>(await items.run(task));
    active.set(job.id!, job);
    try {
      const { work, plan } = task;
      const whole: JobTask = { work, plan, task: job.id!, stop: null, ...share };
      return unlessFault<MadeJob>(await emits.run(whole));
    } finally {
      active.delete(job.id!);
    }
  };

  return {
    async work(job) {
      const { work, plan: key, item: id } = readMessage(job.data);
      const { plan } = openWork(work, key);
      const item = plan.items.find((each) => each.id === id);
      if (!item) throw unknownItem(id);
      await requireSameInputs(key, plan);
      const release = await budget.reserve(id === 'emit' ? plan.memory : item.memory);
      try {
        begun(`${plan.name}: ${id}`);
        return await run(job, { work, plan: key, item: id, threads: share.threads });
      } finally {
        release();
      }
    },
    async close() {
      await Promise.all([items.destroy(), emits.destroy()]);
    },
  };
}

function unknownItem(id: string): Fault {
  return new Fault({
    code: 'QUEUE_MESSAGE',
    what: `the plan has no item ${JSON.stringify(id)}`,
    remedy: 'give moeq a server, or a database of it, that nothing else writes to',
  });
}
