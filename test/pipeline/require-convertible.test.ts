import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { isPlanned, planBatch } from '../../src/jobs/plan/plan-batch.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { convert } from '../../src/pipeline/convert.ts';
import type { Conversion } from '../../src/pipeline/open-conversion.ts';
import { planConversion } from '../../src/pipeline/plan-conversion.ts';
import { bundledModel, calibrationData, configFrom, dataFree } from '../helpers/bundled.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { declared } from '../helpers/make-model.ts';
import { deepModel } from '../helpers/small-text-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-require-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Its experts are 24 wide, and no block of a fused operator divides that twice. */
const narrow = join(folder, 'narrow.onnx');
const sizes = { layers: 1, experts: 4, hidden: 32, intermediate: 24 };
writeModel(deepModel(sizes), narrow);

const short = join(folder, 'short.onnx');
const fixed = deepModel(sizes);
fixed.graph.inputs[0].info = declared('input_ids', 'int64', [1, 4]).info;
writeModel(fixed, short);

const lines = (name: string, ...records: readonly unknown[]): string => {
  const path = join(folder, name);
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return path;
};
const long = lines('long.jsonl', { inputs: { input_ids: [[1, 2, 3, 4, 5]] } });
const foreign = lines('foreign.jsonl', { text: 'abc' }, { text: 'äbc' });
const bundled = bundledModel('batched.dyn');
const qmoe = [...dataFree, 'scheme=w4a16', 'target=qmoe'];

test.each([
  // Not that records are lacking: with them it would be refused too.
  ['a scheme that the target cannot express', bundled, ['scheme=w4a16', 'target=int'], 'SCHEME_TARGET'],
  ['blocks that do not fit a fused operator', narrow, [...qmoe, 'group=16'], 'SCHEME_TARGET'],
  ['a rotation in a fused operator', bundled, [...qmoe, 'rotation.input=hadamard'], 'SCHEME_TARGET'],
  [
    'blocks of activations that are not quantized',
    bundled,
    [...dataFree, 'scheme=w4a16', 'activations.block=16'],
    'SCHEME_TARGET',
  ],
  [
    'too few of the records to judge a realignment',
    bundled,
    [`data=${calibrationData}`, 'calibration.records=2', 'router.realign=true'],
    'REALIGN_RECORDS',
  ],
  ['tokens the model does not know', bundled, [`data=${foreign}`], 'DATA_VOCABULARY'],
  ['the same, among what is measured', bundled, [...dataFree, `verify.data=${foreign}`], 'DATA_VOCABULARY'],
  ['records too long for the model', short, [...dataFree, `data=${long}`], 'DATA_TOO_LONG'],
  [
    'a gate on a task without records',
    bundled,
    [...dataFree, `data=${calibrationData}`, 'gates.min.task.nothere=0.5'],
    'GATE_UNKNOWN',
  ],
] as const)('%s: refused by dry runs and before the work alike', async (_what, model, settings, code) => {
  const config = configFrom(...settings);
  const [output, reportFolder] = [join(folder, 'out.onnx'), join(folder, 'report')];
  const isMeasured = (config.verify.data ?? config.data) !== null;
  const conversion: Conversion = {
    model,
    output,
    config,
    reportFolder: isMeasured ? reportFolder : null,
    force: false,
  };
  expect(faultOf(() => planConversion(conversion)).code).toBe(code);
  const jobs = [{ name: 'one', model, recipe: 'r', config }];
  const common = { output: folder, concurrency: 1, threads: 1, memory: 1, stopOnFailure: false } as const;
  const [job] = (await planBatch({ ...common, jobs })).jobs;
  expect(isPlanned(job) ? null : job.fault.code).toBe(code);
  const stages: string[] = [];
  await expect(convert(conversion, ({ stage }) => stages.push(stage))).rejects.toMatchObject({ code });
  expect([stages, existsSync(reportFolder)]).toEqual([[], false]);
});

test('records that are not run refuse nothing', () => {
  const config = configFrom(...dataFree, `data=${foreign}`, 'calibration.records=1', 'router.realign=false');
  const conversion = { model: bundled, output: join(folder, 'out.onnx'), config, reportFolder: null };
  expect(planConversion({ ...conversion, force: false })).toMatchObject({ target: 'int' });
});
