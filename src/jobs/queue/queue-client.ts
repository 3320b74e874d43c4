import type { RedisOptions } from 'bullmq';
import { Fault, reasonOf } from '../../fault.ts';

type BullMq = typeof import('bullmq');

/** The queue's library and how to reach the server. */
export interface QueueClient extends Pick<BullMq, 'Queue' | 'QueueEvents' | 'UnrecoverableError' | 'Worker'> {
  connection: RedisOptions;
}

/** Name of the one queue on a server; batches share it, and so do workers. */
export const queueName = 'moeq';

const timeoutMs = 5000;

/**
 * Loads BullMQ, which is installed by those who want it, and makes sure that the server answers.
 * @throws Fault QUEUE_URL, QUEUE_NOT_INSTALLED, QUEUE_UNREACHABLE
 */
export async function openQueueClient(url: string): Promise<QueueClient> {
  requireUrl(url);
  const [{ Queue, QueueEvents, UnrecoverableError, Worker }, { Redis }] = await loadPackages();
  const probe = new Redis(url, { lazyConnect: true, connectTimeout: timeoutMs, retryStrategy: () => null });
  // Told by the rejection too; without a listener it would be printed.
  let reason: unknown = null;
  probe.on('error', (error) => (reason ??= error));
  try {
    await probe.connect();
    await probe.ping();
  } catch (error) {
    throw unreachable(url, reason ?? error);
  } finally {
    probe.disconnect();
  }
  return { Queue, QueueEvents, UnrecoverableError, Worker, connection: { url, maxRetriesPerRequest: null } };
}

async function loadPackages() {
  try {
    return await Promise.all([import('bullmq'), import('ioredis')]);
  } catch (error) {
    throw new Fault({
      code: 'QUEUE_NOT_INSTALLED',
      what: 'a queue needs the packages bullmq and ioredis',
      why: reasonOf(error),
      remedy: 'npm i bullmq ioredis',
    });
  }
}

function requireUrl(url: string): void {
  if (/^rediss?:$/.test(URL.parse(url)?.protocol ?? '')) return;
  throw new Fault({
    code: 'QUEUE_URL',
    what: `a queue cannot be found at ${JSON.stringify(url)}`,
    remedy: 'give the address of a Redis or Valkey server: redis://HOST:PORT, or rediss:// for TLS',
  });
}

/** The address without its password. */
function unreachable(url: string, error: unknown): Fault {
  const { protocol, host } = new URL(url);
  return new Fault({
    code: 'QUEUE_UNREACHABLE',
    what: 'the queue does not answer',
    where: `${protocol}//${host}`,
    why: reasonOf(error),
    remedy: 'start a Redis or Valkey server there, or check address, user and password',
  });
}
