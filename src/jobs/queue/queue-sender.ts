import { randomUUID } from 'node:crypto';
import type { Job, Queue, QueueEvents } from 'bullmq';
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

/** What a run has sent, and where. */
interface Outbox {
  queue: Queue<QueueMessage>;
  events: QueueEvents;
  /** What was sent and has not come back, by its id in the queue. */
  pending: Map<string, Pending>;
  notice: (text: string) => void;
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
  const outbox: Outbox = { queue, events, pending: new Map(), notice };
  const run = randomUUID();
  let sent = 0;
  listen(outbox);
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
  await removeEarlier(queue, work);
  if (await isAlone(queue)) notice('no worker is connected to the queue: start some with "moeq worker"');
  const sweeper = setInterval(() => void sweep(outbox).catch(() => {}), sweepMs);

  return {
    send(message, options) {
      const id = `${run}-${sent++}`;
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const entry = { message, ...options, resolve, reject };
      outbox.pending.set(id, entry);
      post(outbox, id, entry).catch((error: Error) => take(outbox, id)?.reject(error));
      return promise;
    },
    withdraw: (plan) => withdraw(outbox, plan),
    async close() {
      clearInterval(sweeper);
      await withdraw(outbox);
      await Promise.all([queue.close(), events.close()]);
    },
  };
}

/** What comes back is handed to those who wait for it. */
function listen(outbox: Outbox): void {
  const { queue, events, pending, notice } = outbox;
  const onError = ({ message }: Error): void => notice(`the queue: ${message}`);
  queue.on('error', onError);
  events.on('error', onError);
  events.on('completed', ({ jobId, returnvalue }) => take(outbox, jobId)?.resolve(returnvalue));
  events.on('failed', ({ jobId, failedReason }) => take(outbox, jobId)?.reject(readFailure(failedReason)));
  events.on('progress', ({ jobId, data }) => {
    try {
      pending.get(jobId)?.progress(data);
    } catch (error) {
      notice(reasonOf(error));
    }
  });
}

async function removeEarlier(queue: Outbox['queue'], work: string): Promise<void> {
  const waiting = await queue.getJobs(['waiting', 'prioritized']);
  for (const job of waiting) if (job.data.work === work) await queue.remove(job.id!);
}

async function isAlone(queue: Outbox['queue']): Promise<boolean> {
  return (await queue.getWorkersCount()) === 0;
}

/** Takes an item out, so that it is settled once. */
function take({ pending }: Outbox, id: string): Pending | undefined {
  const found = pending.get(id);
  pending.delete(id);
  return found;
}

async function post({ queue }: Outbox, id: string, { message, priority }: Pending): Promise<void> {
  await queue.add('item', message, {
    jobId: id,
    priority,
    removeOnComplete: kept,
    removeOnFail: kept,
  });
}

async function withdraw(outbox: Outbox, plan?: string): Promise<void> {
  for (const [id, { message }] of outbox.pending) {
    if (plan !== undefined && message.plan !== plan) continue;
    if ((await outbox.queue.remove(id)) === 1) take(outbox, id)?.reject(interrupted(message.item));
  }
}

/** Sends again what was lost, and settles what ended unheard. */
async function sweep(outbox: Outbox): Promise<void> {
  const { queue, pending, notice } = outbox;
  for (const [id, entry] of pending) {
    const job = (await queue.getJob(id)) as Job<QueueMessage> | undefined;
    if (!job) await post(outbox, id, entry);
    else if (await job.isCompleted()) take(outbox, id)?.resolve(job.returnvalue);
    else if (await job.isFailed()) take(outbox, id)?.reject(readFailure(job.failedReason));
  }
  if (pending.size > 0 && (await isAlone(queue))) notice('no worker is connected to the queue');
}
