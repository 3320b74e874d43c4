import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { killRun, seededRandom } from '../../scripts/kill-run.ts';
import { smallTextModel } from '../helpers/small-text-model.ts';

const steps = ['start', 'calibrate', 'quantize', 'write', 'parity', 'verify', 'publish', 'done'] as const;

test('a run killed at 20 random moments and resumed ends with the bytes of one left alone', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-killed-'));
  const { model, records } = smallTextModel(folder);
  const batch = join(folder, 'batch.yaml');
  writeFileSync(
    batch,
    `output: out
jobs: 1
models: [${JSON.stringify(model)}]
data: ${JSON.stringify(records)}
verify: { attribution: false }
recipes:
  rtn: { scheme: w4a4, rotation: { down: none }, rounding: { method: rtn } }
  clip: { scheme: w4a8, rotation: { down: none }, rounding: { method: clip } }
`,
  );
  const told: string[] = [];
  // On a busy machine short steps may be missed by twenty kills: then there are twenty more, of which all must hold, too.
  for (let seed = 7; seed < 10 && kindsOf(told).length < steps.length - 2; seed++)
    told.push(...(await expectSameBytes(batch, seed)));
  expect(kindsOf(told)).toEqual(expect.arrayContaining(['quantize', 'publish']));
  expect(kindsOf(told).length).toBeGreaterThanOrEqual(steps.length - 2);
  rmSync(folder, { recursive: true });
});

/** Kinds of steps that were under way when a run was killed: files on their way to the output folder are met, too. */
function kindsOf(told: readonly string[]): string[] {
  return steps.filter((step) => told.some((each) => each.split(/ |: /).includes(step)));
}

/** Kills a run twenty times; gives what it had told last each time. */
async function expectSameBytes(batch: string, seed: number): Promise<string[]> {
  const { met, expected, resumed, torn, kept, redone } = await killRun(batch, 20, seededRandom(seed));
  expect(met.length).toBe(20);
  expect(Object.keys(expected)).toEqual([
    expect.stringMatching(/^\.moeq\/jobs\/\w+\.json$/),
    expect.stringMatching(/^\.moeq\/jobs\/\w+\.json$/),
    'index.html',
    'junit.xml',
    'small.clip.onnx',
    'small.clip.report/report.html',
    'small.clip.report/report.json',
    'small.rtn.onnx',
    'small.rtn.report/report.html',
    'small.rtn.report/report.json',
    'summary.json',
  ]);
  expect(resumed).toEqual(expected);
  expect(torn).toEqual([]);
  // What had been done was found again: kills added up to a finished run.
  expect(redone).toEqual([]);
  expect(kept).toBeGreaterThan(50);
  return met;
}
