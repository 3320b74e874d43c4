import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { median } from '../src/report/median.ts';
import type { Session } from '../src/runtime/session.ts';
import { openSession } from '../src/runtime/session.ts';
import { gaussian } from '../test/quantize/random.ts';
import type { Size } from './layer-forms.ts';
import { layerForms } from './layer-forms.ts';

/*
 * Times one MoE layer in many forms, in one process: every round runs each form once (a few times where a run is
 * short), so that what disturbs the machine disturbs all alike; medians over the rounds.
 * `--clock cpu` counts processor time instead of wall time: with one thread that is what a quiet machine would show.
 *   node benchmarks/inference.ts [--threads 1] [--rounds 15] [--size large|many|all] [--clock wall|cpu]
 *     [--forms REGEXP]
 * `--forms` takes the forms whose name it matches, and those that ratios are taken of.
 */
const sizes: Record<string, Size> = {
  large: { hidden: 1024, intermediate: 1024, experts: 8, k: 2 },
  many: { hidden: 512, intermediate: 512, experts: 64, k: 8 },
};
const tokenCounts = [1, 8, 64, 256];
/** The best of these is what the others are compared with. */
const bases = ['float, experts apart', 'float MoE'];

const { values } = parseArgs({
  options: {
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '15' },
    size: { type: 'string', default: 'large' },
    clock: { type: 'string', default: 'wall' },
    forms: { type: 'string', default: '' },
  },
});
for (const size of values.size === 'all' ? Object.values(sizes) : [sizes[values.size]])
  await main(size, Number(values.threads), Number(values.rounds));

async function main(size: Size, threads: number, rounds: number): Promise<void> {
  console.log(
    `${JSON.stringify(size)}, ${threads} thread(s), ${values.clock} clock, medians of ${rounds} rounds in ms`,
  );
  const sessions = new Map<string, Session>();
  const wanted = new RegExp(values.forms);
  for (const [name, model] of layerForms(size))
    if (bases.includes(name) || wanted.test(name))
      sessions.set(name, await openSession(model(), { threads }));
  console.log(['form', ...tokenCounts.map((tokens) => `${tokens} tokens`)].join('\t'));
  const columns: Map<string, number>[] = [];
  for (const tokens of tokenCounts) columns.push(await timeAll(sessions, size, tokens, { threads, rounds }));
  for (const name of sessions.keys())
    console.log([name, ...columns.map((column) => column.get(name)!.toFixed(3))].join('\t'));
  const best = columns.map((column) => Math.min(...bases.map((base) => column.get(base)!)));
  for (const name of sessions.keys())
    console.log(
      [
        `speed-up of ${name} over the best float form`,
        ...columns.map((column, i) => ratio(best[i], column.get(name)!)),
      ].join('\t'),
    );
  for (const session of sessions.values()) await session.release();
}

async function timeAll(
  sessions: ReadonlyMap<string, Session>,
  { hidden, intermediate, experts, k }: Size,
  tokens: number,
  { threads, rounds }: { threads: number; rounds: number },
): Promise<Map<string, number>> {
  const feeds = {
    x: { dtype: 'float32', dims: [tokens, hidden], data: gaussian(tokens, hidden, 1).data },
    logits: { dtype: 'float32', dims: [tokens, experts], data: gaussian(tokens, experts, 2).data },
  } as const;
  const times = new Map([...sessions.keys()].map((name): [string, number[]] => [name, []]));
  const repeats = Math.max(2, Math.ceil(16 / tokens));
  for (let round = -1; round < rounds; round++) {
    for (const [name, session] of sessions) {
      // Gathers the weights of every pair: gigabytes, for many tokens.
      if (name === 'float, source batched' && tokens * k * 8 * hidden * intermediate > 2e9) continue;
      // Threads of the session before go on looking for work for a while, and would take a core from this one's.
      if (threads > 1) await setTimeout(100);
      // Brings the form's own weights back into the caches, as in a model that runs all the time.
      await session.run(feeds);
      const start = now();
      for (let i = 0; i < repeats; i++) await session.run(feeds);
      if (round >= 0) times.get(name)!.push((now() - start) / repeats);
    }
  }
  return new Map([...times].map(([name, list]) => [name, median(list)]));
}

/** Milliseconds on the chosen clock. */
function now(): number {
  if (values.clock === 'wall') return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function ratio(reference: number, time: number): string {
  return `${(reference / time).toFixed(2)}x`;
}
