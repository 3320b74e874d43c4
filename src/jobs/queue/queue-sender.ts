import { randomUUID } from 'node:crypto';
import type { Job } from 'bullmq';
import { reasonOf } from '../../fault.ts';
import { interrupted } from '../error-record.ts';
import type { QueueClient } from './queue-client.ts';
import { queueName } from './queue-client.ts';
import type { QueueMessage } from './queue-message.ts';
import { readFailure } from './queue-message.ts';

/** Sends the items of a run and waits for what becomes of them. */
export interface QueueSender {
  /** Resolves to what the worker gave back. @throws Fault of the worker, or INTERRUPTED for an item taken back */
  send(message: QueueMessage, options: SendOptions): Promise<unknown>;
  /** Takes back what no worker has begun: the items of a plan, or all. */
  withdraw(plan?: string): Promise<void>;
  close(): Promise<void>;
}

interface SendOptions {
  /** 1 is the first in line. */
  priority: number;
  /** Called with what the worker tells, unchecked. */
  progress: (data: unknown) => void;
}

interface Pending extends SendOptions {
  message: QueueMessage;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** A message that was lost with its server's memory is noticed, and sent again, after this long. */
const sweepMs = 15_000;
/** What is done stays on the server for an hour, in case the run missed that it is. */
const kept = { age: 3600 };

/** Opens the sending side. What an earlier run left unbegun for the same work folder is taken off the queue. */
export async function openSender(
  { Queue, QueueEvents, connection }: QueueClient,
  work: string,
  notice: (text: string) => void,
): Promise<QueueSender> {
  const queue = new Queue<QueueMessage>(queueName, { connection });
  // From the beginning, so that no event is missed; those of other runs are not ours.
  const events = new QueueEvents(queueName, { connection, lastEventId: '0-0' });
  const onError = ({ message }: Error): void => notice(`the queue: ${message}`);
  queue.on('error', onError);
  events.on('error', onError);
  const run = randomUUID();
  const pending = new Map<string, Pending>();
  let sent = 0;

  function take(id: string): Pending | undefined {
    const found = pending.get(id);
    pending.delete(id);
    return found;
  }

  const post = async (id: string, { message, priority }: Pending): Promise<void> => {
    await queue.add('item', message, {
      jobId: id,
      priority,
      removeOnComplete: kept,
      removeOnFail: kept,
    });
  };

  async function withdraw(plan?: string): Promise<void> {
    for (const [id, { message }] of pending) {
      if (plan !== undefined && message.plan !== plan) continue;
      if ((await queue.remove(id)) === 1) take(id)?.reject(interrupted(message.item));
    }
  }

  async function tellIfAlone(): Promise<void> {
    if ((await queue.getWorkersCount()) === 0)
      notice('no worker is connected to the queue: start some with "moeq worker"');
  }

  async function sweep(): Promise<void> {
    for (const [id, entry] of pending) {
      const job = (await queue.getJob(id)) as Job<QueueMessage> | undefined;
      if (!job) await post(id, entry);
      else if (await job.isCompleted()) take(id)?.resolve(job.returnvalue);
      else if (await job.isFailed()) take(id)?.reject(readFailure(job.failedReason));
    }
    if (pending.size > 0 && (await queue.getWorkersCount()) === 0)
      notice('no worker is connected to the queue');
  }

  events.on('completed', ({ jobId, returnvalue }) => take(jobId)?.resolve(returnvalue));
  events.on('failed', ({ jobId, failedReason }) => take(jobId)?.reject(readFailure(failedReason)));
  events.on('progress', ({ jobId, data }) => {
    try {
      pending.get(jobId)?.progress(data);
    } catch (error) {
      notice(reasonOf(error));
    }
  });
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
  const waiting = await queue.getJobs(['waiting', 'prioritized']);
  for (const job of waiting) if (job.data.work === work) await queue.remove(job.id!);
  await tellIfAlone();
  const sweeper = setInterval(() => void sweep().catch(() => {}), sweepMs);

  return {
    send(message, options) {
      const id = `${run}-${sent++}`;
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const entry = { message, ...options, resolve, reject };
      pending.set(id, entry);
      post(id, entry).catch((error: Error) => take(id)?.reject(error));
      return promise;
    },
    withdraw,
    async close() {
      clearInterval(sweeper);
      await withdraw();
      await Promise.all([queue.close(), events.close()]);
    },
  };
}
