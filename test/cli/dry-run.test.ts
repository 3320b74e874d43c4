import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { planConversion } from '../../src/pipeline/plan-conversion.ts';
import { describeConversionPlan } from '../../src/report/describe-conversion-plan.ts';
import { bundledModel, calibrationData, configFrom, dataFree } from '../helpers/bundled.ts';
import { runCli } from '../helpers/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-dry-'));
afterAll(() => rmSync(folder, { recursive: true }));

const output = join(folder, 'out.onnx');
const quantize = ['quantize', bundledModel('loop.dyn'), '-o', output, '--dry-run'];

/** How a dry run ends, and the code of its error. */
function refusal(...args: string[]): string[] {
  const { code, stderr } = runCli(...quantize, ...args);
  return [String(code), stderr.split(':')[0]];
}

test('quantize --dry-run tells the plan, for people and as JSON, and writes nothing', () => {
  const told = runCli(...quantize, '--data', calibrationData);
  expect(told.code).toBe(0);
  expect(told.stdout).toMatch(
    /would become .*out\.onnx: w4a4 in the int form, calibrated on records\nlayer +form/,
  );
  const { stdout } = runCli(...quantize, '--data', calibrationData, '--json');
  expect(JSON.parse(stdout)).toMatchObject({
    output,
    target: 'int',
    needsRecords: true,
    layers: [{ id: 'L0' }, { id: 'L1' }, { id: 'L2' }],
  });
  expect(existsSync(output)).toBe(false);
});

test.each([
  [[`data=${calibrationData}`], 'settled by trials on records', true],
  [[`data=${calibrationData}`, 'scheme=w8a8'], 'data-free', false],
  [[], 'data-free', false],
])('a recipe that needs no records, with %j, is %s', (settings, use, triesRecords) => {
  const config = configFrom(...dataFree, ...settings);
  const plan = planConversion({
    model: bundledModel('loop.dyn'),
    output,
    config,
    reportFolder: null,
    force: true,
  });
  expect(plan).toMatchObject({ needsRecords: false, triesRecords });
  expect(describeConversionPlan(plan)).toContain(`form, ${use}\n`);
});

test('what would certainly fail is refused', () => {
  expect(refusal()).toEqual(['2', 'DATA_REQUIRED']);
  expect(refusal('--data', join(folder, 'none.jsonl'))).toEqual(['2', 'DATA_NOT_FOUND']);
  writeFileSync(output, 'mine');
  expect(refusal('--data', calibrationData)).toEqual(['2', 'OUTPUT_EXISTS']);
});
