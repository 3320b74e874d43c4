import type { ProgressEvent } from '../../pipeline/progress.ts';
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

  return {
    width: stopOnFailure ? concurrency : jobs.length,
    async make(job) {
      const plan = storePlan(work, job);
      const tell = (event: ProgressEvent): void => progress({ job: job.name, ...event });
      const send = async ({ id: item }: WorkItem): Promise<unknown> => {
        if (signal.aborted) throw interrupted(job.name);
        const message = { version, work, plan, item };
        const priority = jobs.indexOf(job) + 1;
        return sender.send(message, { priority, progress: (data) => tell(readProgress(data)) });
      };
      try {
        return await makeBySending(job, { send, tell, isMade: ({ key }) => store.has(key) });
      } catch (error) {
        await sender.withdraw(plan);
        throw error;
      }
    },
    close: () => sender.close(),
  };
}

/** What the items of one job are sent with. */
interface Desk {
  send: (item: WorkItem) => Promise<unknown>;
  tell: (event: ProgressEvent) => void;
  isMade: (item: WorkItem) => boolean;
}

async function makeBySending({ job, items }: JobPlan, desk: Desk): Promise<MadeJob> {
  const of = (kind: WorkItem['kind']): WorkItem[] => items.filter((item) => item.kind === kind);
  // Where each layer waits for the one before it to be written, who writes them does the rest.
  if (!job.config.calibration.sequential) {
    await calibrate(of('calibrate'), desk);
    await quantize(of('quantize'), desk);
  }
  return readMade(await desk.send(of('emit')[0]));
}

/** Who makes the first item that is missing makes them all. */
async function calibrate(items: readonly WorkItem[], { send, tell, isMade }: Desk): Promise<void> {
  const missing = items.find((item) => !isMade(item));
  if (!missing) return;
  await send(missing);
  tell({ stage: 'calibrate', detail: 'done' });
}

async function quantize(items: readonly WorkItem[], { send, tell, isMade }: Desk): Promise<void> {
  const missing = items.filter((item) => !isMade(item));
  const step = Math.ceil(missing.length / 10);
  let done = 0;
  const one = async (item: WorkItem): Promise<void> => {
    await send(item);
    done += 1;
    if (done % step === 0 || done === missing.length)
      tell({ stage: 'quantize', detail: `${done} of ${missing.length} done` });
  };
  await Promise.all(missing.map(one));
}
