import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Builder } from '../../src/onnx/build.ts';
import { builder } from '../../src/onnx/build.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { raiseOpset } from '../../src/onnx/raise-opset.ts';
import type { Value } from '../../src/onnx/value.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { diffReports } from '../../src/report/diff/diff.ts';
import { verify } from '../../src/verify/verify.ts';
import { bundledModel, bundledRecords, evaluationData } from '../helpers/bundled.ts';
import { declared } from '../helpers/make-model.ts';

test('a model agrees with itself in everything, in whichever form, and equal reports do not differ', async () => {
  const records = bundledRecords(evaluationData).filter((_, i) => i % 30 === 0);
  const report = await verify(bundledModel('loop.dyn'), bundledModel('loop.dyn'), records);
  expect(report.output).toMatchObject({ kl: 0, top1Agreement: 1, sqnrDb: 200 });
  expect(report.output.perplexity!.quantized).toBe(report.output.perplexity!.reference);
  for (const { router, experts } of report.layers) {
    for (const metrics of [router.local, router.cumulative]) {
      expect(metrics).toMatchObject({
        mse: 0,
        kl: 0,
        topKAgreement: 1,
        exactSet: 1,
        top1Agreement: 1,
        weightL1: 0,
      });
    }
    const tokens = experts.reduce((sum, expert) => sum + expert.tokens, 0);
    expect(tokens).toBe(2 * report.data.tokens);
    for (const expert of experts) expect(expert.sqnrDb).toBe(expert.tokens > 0 ? 200 : null);
  }
  expect(report.quantized).toEqual(report.reference);
  const experts = 3 * 16 * 3 * 128 * 64 * 4;
  expect(report.census[0]).toEqual({ role: 'expert', quantizedBytes: 0, keptBytes: experts, refused: [] });
  expect(report.size.expertBitsPerWeight).toBeNull();
  for (const task of Object.values(report.tasks)) expect(task.quantized).toBe(task.reference);
  const { moved, gates } = diffReports(report, report, {});
  expect({ moved, gates }).toEqual({ moved: [], gates: [] });
});

test('tokens are counted without padding, and answers judged as the task says', async () => {
  const records = bundledRecords(evaluationData, 3);
  const report = await verify(bundledModel('batched.dyn'), bundledModel('grouped.hf'), records);
  const lengths = records.map(({ inputs }) => inputs['input_ids'].data.length);
  expect(report.data).toMatchObject({ records: 3, tokens: lengths.reduce((a, b) => a + b, 0) });
  expect(report.records!.predicted).toEqual(lengths.map((length) => length - 1));
  expect(report.tasks).toEqual({ add: { records: 3, reference: 1, quantized: 1 } });
  expect(report.output.kl).toBeLessThan(1e-6);
});

test.each([
  [
    'the last position',
    ['b', 1, 256],
    (b: Builder, x: Value) => b.op('Gather', [x, b.ints([-1])], { axis: 1 }),
  ],
  [
    'a whole record',
    ['b', 256],
    (b: Builder, x: Value) => b.op('ReduceMean', [x, b.ints([1])], { keepdims: 0 }),
  ],
])('logits of %s are compared, and judge no answers', async (_name, dims, change) => {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-logits-'));
  const path = join(folder, 'model.onnx');
  const model = openModel(bundledModel('loop.dyn'));
  raiseOpset(model, 18);
  const [every] = model.graph.outputs;
  every.name = 'every';
  const logits = change(builder(model.graph, ''), every);
  logits.name = 'logits';
  logits.info = declared('logits', 'float32', dims).info;
  model.graph.outputs = [logits];
  writeModel(model, path);
  const report = await verify(path, path, bundledRecords(evaluationData, 3));
  expect(report.output).toEqual({ kl: 0, top1Agreement: 1, sqnrDb: 200, perplexity: null });
  expect(report.tasks).toEqual({});
  expect(report.notes).toEqual([expect.stringContaining('Answers were not judged')]);
  rmSync(folder, { recursive: true });
});
