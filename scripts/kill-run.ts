/**
 * Kills a batch run at random moments and resumes it each time; the results must equal those of a run left alone.
 *   node scripts/kill-run.ts BATCH [--kills 20] [--seed 1]
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

export interface KillRun {
  /** Kills that met a run at work. */
  kills: number;
  /** SHA-256 by path of the run left alone, and of the run that was killed. */
  expected: Record<string, string>;
  resumed: Record<string, string>;
  /** Files seen in the output folder after a kill that are not whole. */
  torn: string[];
}

/** @param random gives the next share of a whole run, in [0, 1), after which to kill. */
export async function killRun(batch: string, kills: number, random: () => number): Promise<KillRun> {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-kill-'));
  const [whole, output] = [join(folder, 'a', 'out'), join(folder, 'b', 'out')];
  try {
    const started = performance.now();
    await run(batch, whole, null);
    const duration = performance.now() - started;
    const expected = hashes(whole);
    const torn: string[] = [];
    let met = 0;
    while (met < kills) {
      if (await run(batch, output, random() * duration)) met += 1;
      else rmSync(output, { recursive: true });
      const seen = Object.entries(hashes(output));
      torn.push(...seen.filter(([path, hash]) => expected[path] !== hash).map(([path]) => path));
    }
    await run(batch, output, null);
    return { kills: met, expected, resumed: hashes(output), torn };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a batch; true when it was killed before its end. */
function run(batch: string, output: string, killAfterMs: number | null): Promise<boolean> {
  const main = join(import.meta.dirname, '..', 'src', 'cli', 'main.ts');
  const args = [main, 'run', batch, '--resume', '--set', `output=${output}`];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (text: Buffer) => (errors += text.toString()));
  const timer = killAfterMs === null ? null : setTimeout(() => child.kill('SIGKILL'), killAfterMs);
  return new Promise((resolve, reject) => {
    child.on('close', (code, signal) => {
      if (timer) clearTimeout(timer);
      if (signal === null && code !== 0) reject(new Error(`exit code ${code}\n${errors}`));
      else resolve(signal === 'SIGKILL');
    });
  });
}

/** Of every file of the output folder but those of the work folder; reports may name the folder they are in. */
function hashes(output: string): Record<string, string> {
  const paths = globSync('**/*', { cwd: output, withFileTypes: true, exclude: ['.moeq'] })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
  return Object.fromEntries(
    paths.map((path) => {
      const bytes = path.endsWith('.onnx')
        ? readFileSync(path)
        : readFileSync(path, 'utf8').replaceAll(output, '');
      return [path.slice(output.length + 1), createHash('sha256').update(bytes).digest('hex')];
    }),
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
  const { kills, expected, resumed, torn } = await killRun(
    positionals[0] ?? 'configs/batch.yaml',
    Number(values.kills),
    seededRandom(Number(values.seed)),
  );
  const same = JSON.stringify(expected) === JSON.stringify(resumed);
  console.log(`${kills} kills; ${Object.keys(expected).length} files, ${same ? 'equal' : 'DIFFERENT'}`);
  console.log(torn.length === 0 ? 'never a torn file' : `torn: ${torn.join(', ')}`);
  process.exitCode = same && torn.length === 0 ? 0 : 1;
}
