import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { exitCodeOf } from '../../src/cli/run.ts';
import { loadBatch } from '../../src/config/load-batch.ts';
import { parseSet } from '../../src/config/set.ts';
import { Fault } from '../../src/fault.ts';
import type { Crew } from '../../src/jobs/crew.ts';
import { planBatch } from '../../src/jobs/plan/plan-batch.ts';
import { runBatch } from '../../src/jobs/run-batch.ts';
import { batchJunit } from '../../src/jobs/summary/batch-junit.ts';
import { describeOutcomes } from '../../src/jobs/summary/describe-outcomes.ts';
import type { JobOutcome } from '../../src/jobs/summary/job-outcome.ts';
import { writeSummary } from '../../src/jobs/summary/write-summary.ts';
import { threadCrew } from '../../src/jobs/threads/thread-crew.ts';
import { convert } from '../../src/pipeline/convert.ts';
import { bundledModel, evaluationData } from '../helpers/bundled.ts';
import { smallTextModel } from '../helpers/small-text-model.ts';

const { model } = smallTextModel(mkdtempSync(join(tmpdir(), 'moeq-models-')));
const recipes = `recipes:
  rtn: { scheme: w4a4, smoothing: { enabled: false }, rounding: { method: rtn } }
  wide: { scheme: w8a8, smoothing: { enabled: false }, rounding: { method: rtn } }
`;
/** Work enough for threads. */
const searching = recipes.replace('method: rtn', 'method: clip');

/** A folder with a batch file of a small model, or of the models given. */
function newBatch(text = recipes, list = [model]): string {
  const file = join(mkdtempSync(join(tmpdir(), 'moeq-run-')), 'batch.yaml');
  writeFileSync(file, `threads: 1\noutput: out\nmodels: ${JSON.stringify(list)}\n${text}`);
  return file;
}

interface Settings {
  set?: string[];
  /** Beside the batch file. */
  output?: string;
  resume?: boolean;
  signal?: AbortSignal;
}

/** What a run does: its outcomes, the stages it went through and the hashes of the models it left. */
async function run(
  file: string,
  { set = [], output = 'out', resume = false, signal = new AbortController().signal }: Settings = {},
) {
  const settings = [...set, `output=${join(file, '..', output)}`];
  const plan = await planBatch(
    loadBatch(
      file,
      settings.map((text) => parseSet(text)),
    ),
  );
  const stages: string[] = [];
  const outcomes = await runBatch(plan, threadCrew, {
    resume,
    signal,
    progress: ({ job, stage }) => stages.push(`${job} ${stage}`),
    ended: () => {},
    notice: () => {},
  });
  return { outcomes, stages, hashes: hashesIn(plan.output), output: plan.output, work: plan.work };
}

function hashesIn(output: string): Record<string, string> {
  const paths = globSync('**/*.onnx', { cwd: output }).toSorted();
  const hash = (path: string) =>
    createHash('sha256')
      .update(readFileSync(join(output, path)))
      .digest('hex');
  return Object.fromEntries(paths.map((path) => [path, hash(path)]));
}

const statuses = (outcomes: readonly JobOutcome[]) => outcomes.map(({ name, status }) => `${name} ${status}`);

/** A crew that writes nothing which computes what it should. */
const failing: Crew = {
  width: 1,
  make() {
    throw new Fault({ code: 'PARITY', what: 'a written linear does not compute what it should' });
  },
  close: async () => {},
};

describe('runBatch', () => {
  test('a job whose own check fails has missed a gate, and leaves nothing', async () => {
    const plan = await planBatch(loadBatch(newBatch()));
    const tell = { progress: () => {}, ended: () => {}, notice: () => {} };
    const outcomes = await runBatch(plan, () => failing, {
      resume: false,
      signal: new AbortController().signal,
      ...tell,
    });
    expect(outcomes.map(({ status, fault, files }) => [status, fault?.code, files])).toEqual([
      ['gates', 'PARITY', []],
      ['gates', 'PARITY', []],
    ]);
    expect(exitCodeOf(outcomes)).toBe(1);
    expect(describeOutcomes(outcomes)).toContain('2 missed a gate');
    expect(batchJunit(outcomes)).toMatch(/failures="2" errors="0"[\s\S]*<failure type="PARITY"/);
    expect(globSync('*.onnx', { cwd: plan.output })).toEqual([]);
  });

  test('the files are the same for any number of threads and jobs, and as of a conversion alone', async () => {
    const file = newBatch(searching);
    const one = await run(file, { set: ['threads=1'], output: 'one' });
    expect(statuses(one.outcomes)).toEqual(['small.rtn done', 'small.wide done']);
    expect(Object.keys(one.hashes)).toEqual(['small.rtn.onnx', 'small.wide.onnx']);
    const three = await run(file, { set: ['threads=3'], output: 'three' });
    const together = await run(file, { set: ['threads=2', 'jobs=2'], output: 'together' });
    expect(three.hashes).toEqual(one.hashes);
    expect(together.hashes).toEqual(one.hashes);
    // What one conversion does in memory, without a store or a thread.
    const { jobs } = loadBatch(file);
    const plain = join(one.output, '..', 'plain');
    mkdirSync(plain);
    for (const { name, config } of jobs) {
      const output = join(plain, `${name}.onnx`);
      await convert({ model, output, config, reportFolder: null, force: false }, () => {});
    }
    expect(hashesIn(plain)).toEqual(one.hashes);
  });

  test('a job that fails does not stop the others, unless that is asked for', async () => {
    const broken = join(mkdtempSync(join(tmpdir(), 'moeq-broken-')), 'broken.onnx');
    writeFileSync(broken, 'no model');
    const file = newBatch(recipes.split('\n').slice(0, 2).join('\n'), [broken, model]);
    const on = await run(file);
    expect(statuses(on.outcomes)).toEqual(['broken.rtn failed', 'small.rtn done']);
    expect(on.outcomes[0].fault).toMatchObject({ code: expect.stringContaining('ONNX') as string });
    const stopped = await run(file, { set: ['stopOnFailure=true'], output: 'stopped' });
    expect(statuses(stopped.outcomes)).toEqual(['broken.rtn failed', 'small.rtn skipped']);
  });

  test('resuming keeps finished jobs, and does anew what was changed or lost', async () => {
    const file = newBatch();
    const first = await run(file);
    const again = await run(file, { resume: true });
    expect(again.stages).toEqual([]);
    expect(again.outcomes.map(({ reused }) => reused)).toEqual([true, true]);
    const [rtn, wide] = Object.keys(first.hashes).map((path) => join(first.output, path));
    writeFileSync(wide, 'x');
    rmSync(rtn);
    const repaired = await run(file, { resume: true });
    expect(repaired.outcomes.map(({ reused }) => reused)).toEqual([false, false]);
    expect(repaired.hashes).toEqual(first.hashes);
    const changed = await run(file, { resume: true, set: ['recipes.wide.scheme=w4a8'] });
    expect(changed.outcomes.map(({ recipe, reused }) => [recipe, reused])).toEqual([
      ['rtn', true],
      ['wide', false],
    ]);
  });

  test('a run that is stopped says so, and the next one goes on', async () => {
    const file = newBatch();
    const stopped = await run(file, { signal: AbortSignal.abort() });
    expect(statuses(stopped.outcomes)).toEqual(['small.rtn skipped', 'small.wide skipped']);
    const { outcomes } = await run(file, { resume: true });
    expect(statuses(outcomes)).toEqual(['small.rtn done', 'small.wide done']);
  });

  test.each(['small.rtn.onnx', 'small.rtn.onnx.data', 'small.rtn.report'])(
    'a file that no batch made is left alone: %s',
    async (name) => {
      const file = newBatch();
      const path = join(file, '..', 'out', name);
      mkdirSync(join(path, '..'));
      writeFileSync(path, 'precious');
      const { outcomes } = await run(file);
      expect(outcomes.map(({ fault }) => fault?.code)).toEqual(['OUTPUT_EXISTS', undefined]);
      expect(readFileSync(path, 'utf8')).toBe('precious');
    },
  );

  test('a page of the folder that no batch made stops the run, and the next one too', async () => {
    const file = newBatch();
    const path = join(file, '..', 'out', 'index.html');
    mkdirSync(join(path, '..'));
    writeFileSync(path, 'precious');
    for (const _time of [1, 2]) await expect(run(file)).rejects.toThrow(/OUTPUT_EXISTS[^]*index.html/);
  });

  test('weights beside a model go when it has none there any more', async () => {
    const file = newBatch();
    const set = ['recipes.rtn.output={externalData: always}'];
    const weights = join((await run(file, { set })).output, 'small.rtn.onnx.data');
    expect(existsSync(weights)).toBe(true);
    await run(file);
    expect(existsSync(weights)).toBe(false);
  });

  test('gates decide the status, and are held anew when a finished job is kept', async () => {
    const text = `recipes: { rtn: { smoothing: { enabled: false }, rounding: { method: rtn } } }
verify: { data: ${JSON.stringify(evaluationData)}, records: 16, attribution: false }
`;
    const file = newBatch(text, [bundledModel('loop.dyn')]);
    const lax = await run(file, { set: ['gates.min.topKAgreement=0.5'] });
    expect(statuses(lax.outcomes)).toEqual(['loop.dyn.rtn done']);
    const strict = await run(file, { resume: true, set: ['gates.min.topKAgreement=0.9999'] });
    expect(strict.stages).toEqual([]);
    expect(statuses(strict.outcomes)).toEqual(['loop.dyn.rtn gates']);
    writeSummary(strict, strict.outcomes);
    expect(readFileSync(join(strict.output, 'junit.xml'), 'utf8')).toContain(
      'tests="1" failures="1" errors="0"',
    );
    const page = readFileSync(join(strict.output, 'index.html'), 'utf8');
    expect(page).toContain('href="loop.dyn.rtn.report/report.html"');
    expect(existsSync(join(strict.output, 'loop.dyn.rtn.report', 'report.html'))).toBe(true);
  });
});
