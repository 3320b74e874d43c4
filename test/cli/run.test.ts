import { spawn } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BatchPlan, JobPlan } from '../../src/jobs/plan/plan.ts';
import type { JobOutcome } from '../../src/jobs/summary/job-outcome.ts';
import { calibrationData } from '../helpers/bundled.ts';
import { root, runCli } from '../helpers/run-cli.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-run-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const model = join(root, 'test/fixtures/models/tasks-olmoe/loop.dyn.onnx');
const records = join(root, 'calib-data/tasks-eval.jsonl');

function writeBatch(rest: string): string {
  const file = join(folder, 'batch.yaml');
  writeFileSync(
    file,
    `output: out
models: [${JSON.stringify(model)}]
recipes: { rtn: { smoothing: { enabled: false }, rounding: { method: rtn } } }
threads: 1
${rest}`,
  );
  return file;
}

describe('moeq run', () => {
  test('configs/batch.yaml does its three recipes', () => {
    const out = join(folder, 'out');
    const few = join(folder, 'few.jsonl');
    writeFileSync(few, readFileSync(calibrationData, 'utf8').split('\n').slice(0, 8).join('\n'));
    const set = [
      `output=${out}`,
      `data=${few}`,
      'verify.records=8',
      'gates.min.topKAgreement=0.2',
      'overrides=[{settings: {calibration: {balance: {enabled: false}}}}]',
    ].flatMap((text) => ['--set', text]);
    const { code, stdout } = runCli('run', join(root, 'configs/batch.yaml'), '--json', ...set);
    expect(code).toBe(0);
    const { jobs } = JSON.parse(stdout) as { jobs: JobOutcome[] };
    expect(jobs.map(({ recipe, status }) => [recipe, status])).toEqual([
      ['rtn', 'done'],
      ['w4a4', 'done'],
      ['ternary', 'done'],
    ]);
    for (const { name, files, gates } of jobs) {
      expect(files.map(({ path }) => path)).toContain(`${name}.onnx`);
      expect(existsSync(join(out, `${name}.report`, 'report.json'))).toBe(true);
      expect(gates.map(({ ok }) => ok)).toEqual([true]);
    }
    expect(readFileSync(join(out, 'junit.xml'), 'utf8')).toContain('tests="3" failures="0" errors="0"');
  }, 180_000);

  test('--dry-run tells the plan and does nothing', () => {
    const batch = writeBatch(`data: ${JSON.stringify(records)}\n`);
    const { code, stdout } = runCli('run', batch, '--dry-run', '--json', '--jobs', '1');
    expect(code).toBe(0);
    const plan = JSON.parse(stdout) as BatchPlan & { jobs: JobPlan[] };
    expect(plan).toMatchObject({ output: join(folder, 'out'), concurrency: 1, threads: 1 });
    expect(plan.jobs[0]).toMatchObject({ name: 'loop.dyn.rtn', layers: 3, experts: 48 });
    expect(plan.jobs[0].items.map(({ kind }) => kind).slice(-2)).toEqual(['emit', 'verify']);
    expect(existsSync(join(folder, 'out'))).toBe(false);
    expect(runCli('run', batch, '--dry-run').stdout).toContain('quantize 48 experts, variants, emit, verify');
  });

  test('a gate that fails is exit code 1, a job that cannot be done 2', () => {
    const gated = writeBatch(`verify: { data: ${JSON.stringify(records)}, records: 8 }
gates: { min: { topKAgreement: 1 }, max: { output.kl: 0 } }
`);
    const failed = runCli('run', gated);
    expect(failed.code).toBe(1);
    expect(failed.stdout).toContain('1 missed a gate');
    const needy = writeBatch('overrides: [{ settings: { smoothing: { enabled: true } } }]\n');
    const planned = runCli('run', needy, '--dry-run');
    expect(planned.code).toBe(2);
    expect(planned.stdout).toContain('loop.dyn.rtn: DATA_REQUIRED');
    const refused = runCli('run', needy, '--set', `output=${join(folder, 'other')}`);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('DATA_REQUIRED');
    expect(refused.stdout).toContain('1 failed');
  });

  test('Ctrl-C lets the work under way end, and --resume goes on from there', async () => {
    const batch = writeBatch('overrides: [{ settings: { rounding: { method: clip } } }]\n');
    const child = spawn(process.execPath, [join(root, 'src/cli/main.ts'), 'run', batch]);
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => {
      stderr += text.toString();
      if (text.includes('quantize L1')) child.kill('SIGINT');
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(2);
    expect(stderr).toContain('INTERRUPTED');
    expect(existsSync(join(folder, 'out', 'loop.dyn.rtn.onnx'))).toBe(false);
    const artefacts = (): number => globSync('out/.moeq/artefacts/*/*', { cwd: folder }).length;
    // The plan, and the experts of the first layer.
    expect(artefacts()).toBeGreaterThanOrEqual(1 + 16);
    expect(runCli('run', batch, '--resume').code).toBe(0);
    expect(existsSync(join(folder, 'out', 'loop.dyn.rtn.onnx'))).toBe(true);
    expect(artefacts()).toBe(0);
  });

  test('schema takes --json, as other commands do', () => {
    const { code, stdout } = runCli('schema', 'batch', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ title: 'moeq batch' });
  });

  test('a number of jobs that is none is told as it was typed', () => {
    const { code, stderr } = runCli('run', writeBatch(''), '--dry-run', '--jobs', 'x');
    expect(code).toBe(2);
    expect(stderr).toMatch(/CONFIG_VALUE: jobs cannot be "x"\n +where: --jobs x\n/);
  });

  test('a batch that cannot be read is exit code 2, told once', () => {
    const { code, stdout, stderr } = runCli('run', join(folder, 'none.yaml'));
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr.trim().split('\n')[0]).toMatch(/^[A-Z_]+: /);
  });
});
