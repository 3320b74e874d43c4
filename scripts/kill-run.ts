/**
 * Kills a batch run at random moments and resumes it each time; the results must equal those of a run left alone.
 *   node scripts/kill-run.ts BATCH [--kills 20] [--seed 1]
 * Moments are drawn evenly over what a run tells of itself, so that short steps, publishing among them, are met as well as
 * long ones. All of the process's group is killed.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

export interface KillRun {
  /** What the run that was killed had told last, for each kill that met one at work. */
  met: string[];
  /** SHA-256 by path, the work folder's included, of the run left alone and of the run that was killed. */
  expected: Record<string, string>;
  resumed: Record<string, string>;
  /** Files seen in the output folder after a kill that are not whole. */
  torn: string[];
  /** Stored results that the run after a kill found and left as they were, and those that it made again. */
  kept: number;
  redone: string[];
}

/** @param random gives numbers in [0, 1) that say where in its share of the run a kill falls. */
export async function killRun(batch: string, kills: number, random: () => number): Promise<KillRun> {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-kill-'));
  // Reports name the folder they are in, so both runs work in one.
  const output = join(folder, 'out');
  try {
    const steps = await run(batch, output);
    const expected = hashes(output);
    rmSync(output, { recursive: true });
    const result: KillRun = { met: [], expected, resumed: {}, torn: [], kept: 0, redone: [] };
    for (let runs = 0; result.met.length < kills; runs++) {
      if (runs > 2 * kills) throw new Error('most runs ended before they were killed');
      const before = storedIn(output);
      const share = (result.met.length + random()) / kills;
      // After the last that it tells a run only ends.
      const told = await run(batch, output, { steps, at: share * (steps.length - 2) });
      if (told.at(-1)!.what !== end) noteKill(result, told, output, before);
    }
    await run(batch, output);
    return { ...result, resumed: hashes(output) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function noteKill(result: KillRun, told: readonly Step[], output: string, before: Map<string, string>): void {
  result.met.push(told.at(-1)!.what);
  const seen = Object.entries(hashes(output)).filter(([path]) => !path.startsWith('.moeq'));
  result.torn.push(...seen.filter(([path, hash]) => result.expected[path] !== hash).map(([path]) => path));
  const after = storedIn(output);
  const found = [...before].filter(([path]) => after.has(path));
  const redone = found.filter(([path, file]) => after.get(path) !== file);
  result.kept += found.length - redone.length;
  result.redone.push(...redone.map(([path]) => path));
}

/** Something a run told, and when, in milliseconds from its start. */
interface Step {
  what: string;
  at: number;
}

const end = 'end';

/** When to kill a run: in its step number floor(at) of those known, or a later one, after the rest of `at` of its time. */
interface Moment {
  steps: readonly Step[];
  at: number;
}

/** Runs a batch, to be killed or not, and says what it told; the last step is `end` if it was not killed. */
function run(batch: string, output: string, moment: Moment | null = null): Promise<Step[]> {
  const [main, slowly] = ['../src/cli/main.ts', './publish-slowly.ts'].map((path) =>
    join(import.meta.dirname, path),
  );
  const args = ['--import', slowly, main, 'run', batch, '--resume', '--set', `output=${output}`];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  const started = performance.now();
  const steps: Step[] = [];
  let timer: NodeJS.Timeout | null = null;
  const tell = (what: string): void => {
    steps.push({ what, at: performance.now() - started });
    const delay = moment && delayAfter(what, moment);
    if (delay === null) return;
    // Where the step is over before its moment came, which it may be in a run that resumes, the next one is met.
    if (timer) clearTimeout(timer);
    timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), delay);
  };
  tell('start');
  createInterface(child.stderr).on('line', (line) => tell(nameOf(line)));
  return new Promise((resolve, reject) => {
    child.on('close', (code, signal) => {
      if (timer) clearTimeout(timer);
      if (signal === null) steps.push({ what: end, at: performance.now() - started });
      if (signal === null && code !== 0) reject(new Error(steps.map(({ what }) => what).join('\n')));
      else resolve(steps);
    });
  });
}

/** Milliseconds from a step to the kill; null if it is yet to come. */
function delayAfter(what: string, { steps, at }: Moment): number | null {
  const target = Math.floor(at);
  const index = steps.findIndex((step) => step.what === what);
  if (index < target) return null;
  return index > target ? 0 : (at - target) * (steps[target + 1].at - steps[target].at);
}

/** What a line tells, without paths and times. */
function nameOf(line: string): string {
  return line.replace(/ (after |\/).*/, '');
}

/** The stored results of a run that is not finished, by path; a file that was written again has another name inside. */
function storedIn(output: string): Map<string, string> {
  const work = join(output, '.moeq', 'artefacts');
  const files = globSync('**/*', { cwd: work, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  return new Map(
    paths.filter((path) => !path.endsWith('.tmp')).map((path) => [path, `${statSync(path).ino}`]),
  );
}

/** SHA-256 of every file of a folder, hidden ones too, by its path there. */
function hashes(output: string): Record<string, string> {
  const paths = globSync(['**/*', '.moeq/**/*'], { cwd: output, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
  return Object.fromEntries(
    paths.map((path) => [
      path.slice(output.length + 1),
      createHash('sha256').update(readFileSync(path)).digest('hex'),
    ]),
  );
}

/** Numbers in [0, 1) that a seed decides (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

if (process.argv[1] === import.meta.filename) {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { kills: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' } },
  });
  const { met, expected, resumed, torn, kept, redone } = await killRun(
    positionals[0] ?? 'configs/batch.yaml',
    Number(values.kills),
    seededRandom(Number(values.seed)),
  );
  const same = JSON.stringify(expected) === JSON.stringify(resumed);
  console.log(`${met.length} kills, after:\n  ${met.join('\n  ')}`);
  console.log(`${kept} results kept, ${redone.length} made again`);
  console.log(`${Object.keys(expected).length} files, ${same ? 'equal' : 'DIFFERENT'}`);
  console.log(torn.length === 0 ? 'never a torn file' : `torn: ${torn.join(', ')}`);
  process.exitCode = same && torn.length === 0 && redone.length === 0 ? 0 : 1;
}
