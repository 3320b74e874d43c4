import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { findModels, openSubject } from '../../../scripts/ablate/subject.ts';

const zoo = mkdtempSync(join(tmpdir(), 'moeq-zoo-'));
afterAll(() => rmSync(zoo, { recursive: true }));

/** Six evaluation records of tasks that take turns. */
const evaluation = ['b', 'b', 'a', 'a', 'b', 'a'].map((task, i) => ({ task, prompt: `${i}`, answer: 'x' }));
for (const name of ['one', 'two']) {
  mkdirSync(join(zoo, name));
  writeFileSync(join(zoo, name, 'batched.dyn.onnx'), name);
  writeFileSync(join(zoo, name, 'calib.jsonl'), '{"text": "abc"}\n');
  const lines = evaluation.map((record) => JSON.stringify(record));
  writeFileSync(join(zoo, name, 'eval.jsonl'), `${lines.join('\n')}\n`);
}
writeFileSync(join(zoo, 'README.md'), 'no model');
const one = join(zoo, 'one', 'batched.dyn.onnx');

test('models are found by file, by folder and by folder of folders', () => {
  expect(findModels([one])).toEqual([one]);
  expect(findModels([join(zoo, 'one')])).toEqual([one]);
  expect(findModels([zoo])).toEqual([one, join(zoo, 'two', 'batched.dyn.onnx')]);
  expect(() => findModels([join(zoo, 'three')])).toThrow(/ABLATION_MODEL/);
});

test('skewed records are half of those to measure on, one task after another', async () => {
  const { name, data } = await openSubject(one);
  expect(name).toBe('one');
  expect(data.given.calibration).toHaveLength(1);
  expect(data.given.evaluation).toHaveLength(6);
  expect(data.skewed.calibration.map(({ task }) => task)).toEqual(['a', 'b', 'b']);
  const calibrated = new Set(data.skewed.calibration.map(({ source }) => source));
  expect(data.skewed.evaluation.filter(({ source }) => !calibrated.has(source))).toHaveLength(3);
});

test('identities tell models apart', async () => {
  const [first, again, other] = await Promise.all(
    [one, one, join(zoo, 'two', 'batched.dyn.onnx')].map(openSubject),
  );
  expect(first.identity).toBe(again.identity);
  expect(first.identity).not.toBe(other.identity);
});
