/**
 * How much sooner a second worker finishes a batch: the same jobs by one worker on one core and by two on two, behind a
 * queue (`moeq worker`, each pinned to a core of its own) and as threads of one process (`moeq run`), by turns. The
 * results must have the same bytes. Behind the wall time stands the processor time of each worker, which on a busy
 * machine says more: nearly half as much each, and no worker waits for the other.
 *   node benchmarks/workers.ts [--rounds 3] [--main dist/cli/main.js]
 * Linux only (`taskset`). The queue needs redis-server, bullmq and ioredis, and is left out where they are not.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startRedis, whyNoQueue } from '../test/helpers/redis-server.ts';

const root = join(import.meta.dirname, '..');
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    main: { type: 'string', default: join(root, 'src/cli/main.ts') },
  },
});
const main = resolve(values.main);

/** Forms of one checkpoint, so that jobs are many and alike. */
const batch = `
output: out
models: [${['loop.dyn', 'grouped.hf', 'batched.dyn', 'fused.moe'].map((form) => join(root, 'test/fixtures/models/tasks-olmoe', `${form}.onnx`)).join(', ')}]
recipes: { smooth: ${join(root, 'configs/smoothquant.yaml')}, gptq: ${join(root, 'configs/gptq.yaml')} }
data: ${join(root, 'calib-data/tasks-calib.jsonl')}
verify: { data: ${join(root, 'calib-data/tasks-eval.jsonl')}, records: 100 }
`;

const folder = mkdtempSync(join(tmpdir(), 'moeq-workers-'));
const file = join(folder, 'batch.yaml');
writeFileSync(file, batch);

/** A command on some of the cores, which is what it then takes for all of them. */
function moeq(cores: string, ...args: string[]): ChildProcess {
  const stdio = ['ignore', 'ignore', 'pipe'] as const;
  return spawn('taskset', ['-c', cores, process.execPath, main, ...args], { stdio: [...stdio] });
}

async function said(child: ChildProcess, text: string): Promise<void> {
  let log = '';
  for await (const part of child.stderr!.iterator({ destroyOnReturn: false }))
    if ((log += String(part)).includes(text)) break;
  child.stderr!.resume();
}

/** Of a whole batch, and what each worker that was apart from the run computed; all in seconds. */
interface Reading {
  wall: number;
  processor: number[];
}

async function runBatch(cores: string, ...args: string[]): Promise<number> {
  const started = performance.now();
  const run = moeq(cores, 'run', file, ...args);
  run.stderr!.resume();
  const [code] = (await once(run, 'close')) as [number];
  if (code !== 0) throw new Error(`moeq run ended with ${code}`);
  return (performance.now() - started) / 1000;
}

async function behindQueue(url: string, count: number): Promise<Reading> {
  const workers = Array.from({ length: count }, (_, core) =>
    moeq(String(core), 'worker', '--queue', url, '--jobs', '1'),
  );
  try {
    await Promise.all(workers.map((worker) => said(worker, 'waiting for work')));
    const wall = await runBatch('0,1', '--queue', url);
    return { wall, processor: workers.map(({ pid }) => processorSeconds(pid!)) };
  } finally {
    for (const worker of workers) worker.kill('SIGKILL');
  }
}

/** User and system time of a process, from ticks of a hundredth. */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function asThreads(threads: number): Promise<Reading> {
  const options = ['--jobs', String(threads), '--set', `threads=${threads}`];
  return { wall: await runBatch(threads === 1 ? '0' : '0,1', ...options), processor: [] };
}

/** One hash over the models a run left, which are then removed. */
function takeModels(): string {
  const hash = createHash('sha256');
  for (const path of globSync('*.onnx', { cwd: join(folder, 'out') }).toSorted())
    hash.update(path).update(readFileSync(join(folder, 'out', path)));
  rmSync(join(folder, 'out'), { recursive: true });
  return hash.digest('hex');
}

const reason = await whyNoQueue();
const redis = reason === null ? await startRedis() : null;
if (!redis) console.log(`no workers behind a queue: ${reason}`);
const ways: [string, typeof asThreads][] = [['threads', asThreads]];
if (redis) ways.push(['queue', (workers) => behindQueue(redis.url, workers)]);
const describe = ({ wall, processor }: Reading): string =>
  [`${wall.toFixed(1)} s`, ...processor.map((seconds) => seconds.toFixed(1))].join(' / ');
const hashes = new Set<string>();
try {
  for (let round = 0; round < Number(values.rounds); round++)
    for (const [name, measure] of ways) {
      const one = await measure(1);
      hashes.add(takeModels());
      const two = await measure(2);
      hashes.add(takeModels());
      const [ratio, load] = [two.wall / one.wall, loadavg()[0]];
      console.log(
        `${name}: one ${describe(one)}, two ${describe(two)}, ratio ${ratio.toFixed(2)} (load ${load.toFixed(1)})`,
      );
    }
  if (hashes.size > 1) throw new Error('the bytes depend on the workers');
} finally {
  redis?.stop();
  rmSync(folder, { recursive: true, force: true });
}
