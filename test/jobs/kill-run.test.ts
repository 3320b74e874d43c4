import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { killRun, seededRandom } from '../../scripts/kill-run.ts';

const model = join(import.meta.dirname, '../fixtures/models/tasks-olmoe/loop.dyn.onnx');

test('a run killed at random moments and resumed ends with the bytes of one left alone', async () => {
  const batch = join(mkdtempSync(join(tmpdir(), 'moeq-killed-')), 'batch.yaml');
  const settings = 'smoothing: { enabled: false }';
  writeFileSync(
    batch,
    `output: out
models: [${JSON.stringify(model)}]
recipes:
  rtn: { scheme: w4a4, ${settings}, rounding: { method: rtn } }
  clip: { scheme: w4a8, ${settings}, rounding: { method: clip } }
`,
  );
  const { kills, expected, resumed, torn } = await killRun(batch, 3, seededRandom(7));
  expect(kills).toBe(3);
  expect(Object.keys(expected)).toEqual([
    'index.html',
    'junit.xml',
    'loop.dyn.clip.onnx',
    'loop.dyn.rtn.onnx',
    'summary.json',
  ]);
  expect(resumed).toEqual(expected);
  expect(torn).toEqual([]);
});
