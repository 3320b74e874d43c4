import { version } from '../../version.ts';
import type { Crew, CrewOptions } from '../crew.ts';
import { interrupted } from '../error-record.ts';
import type { BatchPlan, JobPlan, WorkItem } from '../plan/plan.ts';
import { openStore } from '../store/artefact-store.ts';
import type { MadeJob } from '../store/publish-job.ts';
import { artefactsIn, storePlan } from '../store/work-folder.ts';
import type { QueueClient } from './queue-client.ts';
import { readMade, readProgress } from './queue-message.ts';
import { openSender } from './queue-sender.ts';

/**
 * The workers behind a queue. What makes an artefact is sent item by item, once the items it needs are done; writing
 * and verifying a model is one message, since the files of a job are of one piece. All jobs are begun, earlier ones
 * first in line; or as many as the batch says, where the first failure is to stop the rest.
 */
export async function queueCrew(
  client: QueueClient,
  { work, jobs, concurrency, stopOnFailure }: BatchPlan,
  { signal, progress, notice }: CrewOptions,
): Promise<Crew> {
  const sender = await openSender(client, work, notice);
  const store = openStore(artefactsIn(work));
  signal.addEventListener('abort', () => void sender.withdraw());

  async function send(job: JobPlan, plan: string, { id: item }: WorkItem): Promise<unknown> {
    if (signal.aborted) throw interrupted(job.name);
    return sender.send(
      { version, work, plan, item },
      {
        priority: jobs.indexOf(job) + 1,
        progress: (data) => progress({ job: job.name, ...readProgress(data) }),
      },
    );
  }

  /** Who makes the first item that is missing makes them all. */
  async function calibrate(job: JobPlan, plan: string): Promise<void> {
    const missing = job.items.find(({ kind, key }) => kind === 'calibrate' && !store.has(key));
    if (!missing) return;
    await send(job, plan, missing);
    progress({ job: job.name, stage: 'calibrate', detail: 'done' });
  }

  async function quantize(job: JobPlan, plan: string): Promise<void> {
    const missing = job.items.filter((item) => item.kind === 'quantize' && !store.has(item.key));
    const step = Math.ceil(missing.length / 10);
    let done = 0;
    const one = async (item: WorkItem): Promise<void> => {
      await send(job, plan, item);
      done += 1;
      if (done % step === 0 || done === missing.length)
        progress({ job: job.name, stage: 'quantize', detail: `${done} of ${missing.length} done` });
    };
    await Promise.all(missing.map(one));
  }

  return {
    width: stopOnFailure ? concurrency : jobs.length,
    async make(job): Promise<MadeJob> {
      const plan = storePlan(work, job);
      try {
        // Where each layer waits for the one before it to be written, who writes them does the rest.
        if (!job.job.config.calibration.sequential) {
          await calibrate(job, plan);
          await quantize(job, plan);
        }
        return readMade(
          await send(
            job,
            plan,
            job.items.find(({ kind }) => kind === 'emit')!,
          ),
        );
      } catch (error) {
        await sender.withdraw(plan);
        throw error;
      }
    },
    close: () => sender.close(),
  };
}
