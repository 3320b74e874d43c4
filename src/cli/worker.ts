import type { CommandModule } from 'yargs';
import { Fault } from '../fault.ts';
import { openQueueClient } from '../jobs/queue/queue-client.ts';
import { serveQueue } from '../jobs/queue/serve-queue.ts';
import { usableMemory } from '../jobs/threads/memory-budget.ts';
import { threadsOf } from '../runtime/threads-of.ts';
import { showNotice } from './output.ts';
import { stopSignal } from './signals.ts';

interface Arguments {
  queue: string;
  jobs: number;
  silence: number;
}

export const workerCommand: CommandModule<object, Arguments> = {
  command: 'worker',
  describe: 'do the work of runs that were started with --queue',
  builder: (yargs) =>
    yargs.options({
      queue: { type: 'string', demandOption: true, describe: 'a Redis or Valkey server: redis://HOST:PORT' },
      jobs: { type: 'number', default: threadsOf('auto'), describe: 'items done at a time' },
      silence: {
        type: 'number',
        default: 30,
        describe: 'seconds after which a worker that says nothing counts as gone',
      },
    }),
  async handler({ queue, jobs, silence }) {
    requireAtLeast('jobs', jobs, 1);
    requireAtLeast('silence', silence, 1);
    const client = await openQueueClient(queue);
    const signal = stopSignal();
    showNotice('waiting for work');
    await serveQueue(client, {
      jobs: Math.floor(jobs),
      threads: threadsOf('auto'),
      memory: usableMemory(),
      silenceMs: silence * 1000,
      signal,
      begun: showNotice,
      notice: showNotice,
    });
  },
};

function requireAtLeast(option: string, value: number, least: number): void {
  if (value >= least) return;
  throw new Fault({
    code: 'USAGE',
    what: `--${option} must be at least ${least}`,
    remedy: 'see "moeq worker --help"',
  });
}
