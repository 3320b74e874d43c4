/**
 * Converts synthetic checkpoints of growing size and prints time and peak memory of the whole process tree.
 *   node scripts/measure-scale.ts FOLDER [--gb 3,6,12] [--recipe '{ … }']
 * The folder receives one checkpoint at a time, and its result; both are removed.
 */
import { spawn } from 'node:child_process';
import { globSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeLargeCheckpoint } from './make-large-checkpoint.ts';

const weightOnly =
  '{ scheme: w4a16, target: nbits, smoothing: { enabled: false }, rounding: { method: rtn } }';

/** Resident bytes of a process and its descendants; Linux only. */
function residentBytes(root: number): number {
  const parents = new Map<number, number>();
  const resident = new Map<number, number>();
  for (const path of globSync('/proc/[0-9]*/status')) {
    const text = read(path);
    const field = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
    parents.set(field('Pid'), field('PPid'));
    resident.set(field('Pid'), field('VmRSS') * 1024);
  }
  const isBelow = (pid: number | undefined): boolean =>
    pid === root || (pid !== undefined && pid > 1 && isBelow(parents.get(pid)));
  return [...resident].reduce((sum, [pid, bytes]) => sum + (isBelow(pid) ? bytes : 0), 0);
}

/** Text of a file that may be gone by now. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function measure(args: readonly string[]): Promise<{ seconds: number; peak: number }> {
  const main = join(import.meta.dirname, '..', 'src', 'cli', 'main.ts');
  const started = performance.now();
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  let peak = 0;
  const timer = setInterval(() => (peak = Math.max(peak, residentBytes(child.pid!))), 50);
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  clearInterval(timer);
  if (code !== 0) throw new Error(`exit code ${code}`);
  return { seconds: (performance.now() - started) / 1000, peak };
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { gb: { type: 'string', default: '3,6,12' }, recipe: { type: 'string', default: weightOnly } },
});
const folder = positionals[0] ?? '.';
console.log('| weights, GB | result, GB | seconds | MB/s | peak memory of the process tree, MB |');
console.log('| ---: | ---: | ---: | ---: | ---: |');
for (const gigabytes of values.gb.split(',').map(Number)) {
  const { path, bytes } = makeLargeCheckpoint(folder, gigabytes);
  const [batch, output] = [join(folder, 'scale.yaml'), join(folder, 'scale-out')];
  try {
    writeFileSync(batch, `output: ${output}\nmodels: [${path}]\nrecipes: { weights: ${values.recipe} }\n`);
    const { seconds, peak } = await measure(['run', batch]);
    const results = globSync(join(output, '*.onnx*')).map((file) => statSync(file).size);
    const result = results.reduce((sum, size) => sum + size, 0);
    const cells = [
      (bytes / 1e9).toFixed(2),
      (result / 1e9).toFixed(2),
      seconds.toFixed(0),
      (bytes / 1e6 / seconds).toFixed(0),
    ];
    console.log(`| ${cells.join(' | ')} | ${(peak / 1e6).toFixed(0)} |`);
  } finally {
    for (const each of [path, `${path}.data`, batch, output]) rmSync(each, { recursive: true, force: true });
  }
}
