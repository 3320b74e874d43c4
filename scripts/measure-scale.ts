/**
 * Converts synthetic checkpoints of growing size and prints time and peak memory of the whole process tree.
 *   node scripts/measure-scale.ts FOLDER [--gb 3,6,12] [--experts 64] [--recipe '{ … }'] [--records 32 [--verify]]
 * The folder receives one checkpoint at a time, and its result; both are removed. With records (of 64 tokens) the recipe
 * is calibrated on them, by `moeq quantize`, which verifies on them too if asked; else `moeq run` converts.
 */
import { spawn } from 'node:child_process';
import { globSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { zipSync } from 'fflate';
import { floatToHalf } from '../src/tensor/half.ts';
import { seededRandom } from './kill-run.ts';
import { hidden, makeLargeCheckpoint } from './make-large-checkpoint.ts';

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

/** Hidden states, uniform with one outlier channel, as a NumPy archive of float16 [records, 64, hidden]. */
function writeRecords(path: string, count: number): void {
  const shape = [count, 64, hidden];
  const random = seededRandom(2);
  const values = Uint16Array.from({ length: count * 64 * hidden }, (_, i) =>
    floatToHalf((random() - 0.5) * (i % hidden === 7 ? 20 : 1)),
  );
  const header =
    `{'descr': '<f2', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`.padEnd(117) + '\n';
  const magic = Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, header.length, 0]);
  const npy = Buffer.concat([magic, Buffer.from(header), new Uint8Array(values.buffer)]);
  writeFileSync(path, zipSync({ 'hidden_states.npy': npy }, { level: 0 }));
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    gb: { type: 'string', default: '3,6,12' },
    experts: { type: 'string', default: '64' },
    recipe: { type: 'string', default: weightOnly },
    records: { type: 'string', default: '0' },
    verify: { type: 'boolean', default: false },
  },
});
const folder = positionals[0] ?? '.';
console.log('| weights, GB | result, GB | seconds | MB/s | peak memory of the process tree, MB |');
console.log('| ---: | ---: | ---: | ---: | ---: |');
for (const gigabytes of values.gb.split(',').map(Number)) {
  const { path, bytes } = makeLargeCheckpoint(folder, gigabytes, Number(values.experts));
  const [config, output, records] = ['scale.yaml', 'scale-out', 'scale.npz'].map((name) =>
    join(folder, name),
  );
  try {
    let args = ['run', config];
    if (Number(values.records) > 0) {
      writeRecords(records, Number(values.records));
      writeFileSync(config, values.recipe);
      args = ['quantize', path, '-c', config, '--data', records, '-o', join(output, 'large.onnx')];
      if (values.verify) args.push('--report', join(output, 'report'));
    } else
      writeFileSync(config, `output: ${output}\nmodels: [${path}]\nrecipes: { weights: ${values.recipe} }\n`);
    const { seconds, peak } = await measure(args);
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
    for (const each of [path, `${path}.data`, config, records, output])
      rmSync(each, { recursive: true, force: true });
  }
}
