import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import type { Model } from '../../src/onnx/model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import type { Report } from '../../src/report/report.ts';
import { verify } from '../../src/verify/verify.ts';
import { editConstant } from '../helpers/break-model.ts';
import { bundledModel, bundledRecords, configFrom, dataFree, evaluationData } from '../helpers/bundled.ts';
import { root } from '../helpers/run-cli.ts';
import { randomRecords } from './random-records.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-attribution-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const reference = bundledModel('loop.dyn');
const records = bundledRecords(evaluationData).filter((_, i) => i % 40 === 0);

async function verified(model: Model, original = reference, data = records, options = {}): Promise<Report> {
  const path = join(folder, 'other.onnx');
  writeModel(model, path, { force: true });
  return verify(original, path, data, options);
}

/** Some of the weights of a constant, well changed. */
function perturb(model: Model, name: string): void {
  editConstant(model, name, (values) => values.forEach((value, i) => (values[i] = i % 3 ? value : -value)));
}

test('all the loss of changed routers is in the routing', async () => {
  const { layers } = prepareModel(reference);
  const model = openModel(reference);
  for (const { router } of layers) perturb(model, router.linear!.name);
  const { attribution, output } = await verified(model);
  const { routing, experts, both } = attribution!;
  expect(both.kl).toBeGreaterThan(0.05);
  expect(both).toEqual({
    kl: output.kl,
    sqnrDb: output.sqnrDb,
    perplexity: output.perplexity!.quantized,
  });
  expect(routing.kl).toBeCloseTo(both.kl, 6);
  expect(routing.perplexity).toBeCloseTo(both.perplexity!, 4);
  expect(experts.kl).toBeCloseTo(0, 6);
  expect(experts.perplexity).toBeCloseTo(output.perplexity!.reference, 4);
});

test('all the loss of changed experts is in the experts, where no router comes behind them', async () => {
  const { layers } = prepareModel(reference);
  const model = openModel(reference);
  for (const { up } of layers.at(-1)!.experts) perturb(model, up!.name);
  const { attribution, output } = await verified(model);
  const { routing, experts, both } = attribution!;
  expect(both.kl).toBeGreaterThan(0.05);
  expect(experts).toEqual(both);
  expect(routing).toMatchObject({ kl: 0, sqnrDb: 200, perplexity: output.perplexity!.reference });
});

test.each([
  ['w4a4', 'int'],
  ['w4a4', 'qdq'],
  ['w4a16', 'nbits'],
  ['ternary', 'packed'],
  ['w4a16', 'qmoe'],
])('of one layer, written as %s %s, all the loss is in the experts', async (scheme, target) => {
  const path = join(root, 'test/fixtures/graphs/out5.qwen3_moe.batched_mm.ts.onnx');
  const config = configFrom(
    `scheme=${scheme}`,
    `target=${target}`,
    ...dataFree,
    'ternary.compensate=false',
    'ternary.fit=exact',
  );
  const { model } = await quantizeModel(path, null, config);
  const { attribution, notes } = await verified(model, path, randomRecords(model, 3));
  const { routing, experts, both } = attribution!;
  expect(notes).toBeUndefined();
  expect(both.kl).toBeGreaterThan(0);
  expect(experts).toEqual(both);
  expect(routing).toEqual({ kl: 0, sqnrDb: 200 });
});

test('without attribution the report says so', async () => {
  const { attribution, notes } = await verified(openModel(reference), reference, records, {
    attribution: false,
  });
  expect(attribution).toBeUndefined();
  expect(notes).toEqual([expect.stringContaining('verify.attribution is off')]);
});
