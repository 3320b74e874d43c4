import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openQueueClient, queueName } from '../../src/jobs/queue/queue-client.ts';
import { startRedis, whyNoQueue } from '../helpers/redis-server.ts';
import { root } from '../helpers/run-cli.ts';

const model = join(root, 'test/fixtures/models/tasks-olmoe/loop.dyn.onnx');
const records = join(root, 'calib-data/tasks-calib.jsonl');
const reason = await whyNoQueue();
const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

describe.skipIf(reason !== null)(`a queue${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let folder: string;
  let batch: string;
  const running = new Set<ChildProcess>();

  beforeAll(async () => {
    redis = await startRedis();
    folder = mkdtempSync(join(tmpdir(), 'moeq-queue-'));
    batch = join(folder, 'batch.yaml');
    writeFileSync(
      batch,
      `output: out
models: [${JSON.stringify(model)}]
data: ${JSON.stringify(records)}
verify: { records: 8 }
recipes:
  rtn: { scheme: w4a16, smoothing: { enabled: false }, rounding: { method: rtn } }
  smooth: { scheme: w4a8, rounding: { method: clip }, calibration: { records: 96, balance: { enabled: false } } }
`,
    );
  });
  afterEach(() => {
    for (const child of running) child.kill('SIGKILL');
  });
  afterAll(() => {
    redis.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  interface Started {
    child: ChildProcess;
    log: () => string;
    /** Resolves when it has said so. */
    says: (text: string) => Promise<void>;
    ended: Promise<number | null>;
  }

  function start(...args: string[]): Started {
    const child = spawn(process.execPath, [join(root, 'src/cli/main.ts'), ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    running.add(child);
    let log = '';
    child.stderr.on('data', (text: Buffer) => (log += text.toString()));
    return {
      child,
      log: () => log,
      async says(text) {
        while (!log.includes(text)) {
          if (child.exitCode !== null) throw new Error(`ended without saying "${text}":\n${log}`);
          await setTimeout(5);
        }
      },
      ended: once(child, 'close').then(([code]) => code as number | null),
    };
  }

  const worker = (...args: string[]) => start('worker', '--queue', redis.url, '--jobs', '1', ...args);

  /** What a run leaves, by path; and nothing stays from one run to the next. */
  function take(): Record<string, string> {
    const output = join(folder, 'out');
    const entries = globSync('**/*', { cwd: output, withFileTypes: true, exclude: ['.moeq'] });
    const paths = entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const result = Object.fromEntries(paths.toSorted().map((path) => [path, hash(path)]));
    rmSync(output, { recursive: true });
    return result;
  }

  test('a batch is completed, once and with the bytes of a plain run, though a worker is killed midway', async () => {
    const plain = start('run', batch);
    expect(await plain.ended).toBe(0);
    const expected = take();
    expect(Object.keys(expected)).toHaveLength(3 + 2 * 3);

    // Whoever is killed is missed after a second; where nobody is, a busy machine must not look like that.
    const missed = ['--silence', '1'];
    const [first, second] = [worker(...missed), worker(...missed)];
    await Promise.all([first.says('waiting'), second.says('waiting')]);
    const run = start('run', batch, '--queue', redis.url);
    // Calibration takes long enough to be caught in it.
    const calibrates = 'smooth: calibrate';
    const victim = await Promise.race([first, second].map((each) => each.says(calibrates).then(() => each)));
    const survivor = victim === first ? second : first;
    expect(survivor.log()).not.toContain(calibrates);
    victim.child.kill('SIGKILL');
    expect([await run.ended, run.log().match(/: done after/g)]).toEqual([
      0,
      [': done after', ': done after'],
    ]);
    expect(take()).toEqual(expected);
    expect(survivor.log()).toContain(calibrates);
    // What the workers are doing is told as a plain run tells it.
    expect(run.log()).toContain('smooth: quantize L0');
    expect(run.log()).not.toContain('not of moeq');
    survivor.child.kill('SIGINT');
    expect(await survivor.ended).toBe(0);
  });

  test('a run that is stopped takes back what nobody has begun, and --resume goes on', async () => {
    const args = ['run', batch, '--queue', redis.url, '--set', 'exclude=[{recipe: smooth}]'];
    const run = start(...args);
    await run.says('no worker is connected');
    run.child.kill('SIGINT');
    expect(await run.ended).toBe(2);
    expect(run.log()).toContain('INTERRUPTED');
    const server = worker();
    expect(await start(...args, '--resume').ended).toBe(0);
    expect(server.log().match(/rtn: quantize:L0.E0\b/g)).toHaveLength(1);
    take();
  });

  test('what others have put into the queue is refused, and the worker goes on', async () => {
    const { Queue, QueueEvents, connection } = await openQueueClient(redis.url);
    const queue = new Queue(queueName, { connection });
    const events = new QueueEvents(queueName, { connection });
    await events.waitUntilReady();
    const server = worker();
    const reasonOf = async (data: unknown): Promise<unknown> => {
      const job = await queue.add('item', data);
      const failed = await job.waitUntilFinished(events).catch((error: Error) => error.message);
      return JSON.parse(failed as string);
    };
    const plan = 'a'.repeat(64);
    expect(await reasonOf({ command: 'rm' })).toMatchObject({ code: 'QUEUE_MESSAGE' });
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    const message = { version, work: folder, plan, item: 'emit' };
    expect(await reasonOf({ ...message, plan: '../../etc/passwd' })).toMatchObject({
      code: 'QUEUE_MESSAGE',
      where: 'plan',
    });
    expect(await reasonOf({ ...message, version: '0.0.0' })).toMatchObject({ code: 'QUEUE_VERSION' });
    expect(await reasonOf(message)).toMatchObject({ code: 'PLAN_NOT_FOUND', where: folder });
    expect(server.child.exitCode).toBeNull();
    await Promise.all([queue.close(), events.close()]);
  });
});
