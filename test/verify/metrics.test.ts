import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeBatches } from '../../src/data/batches.ts';
import { declaredInputs } from '../../src/data/model-input.ts';
import type { DataRecord } from '../../src/data/record.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { verify } from '../../src/verify/verify.ts';
import { editConstant } from '../helpers/break-model.ts';
import { bundledModel, bundledRecords, configFrom, dataFree, evaluationData } from '../helpers/bundled.ts';
import { root } from '../helpers/run-cli.ts';
import { random } from '../moe/helpers/run-model.ts';
import { exposedQuantized, exposedReference, runBetween, runExposed, tensorOf } from './exposed-models.ts';
import { randomRecords } from './random-records.ts';
import { slowExperts, slowLikelihood, slowOutput, slowRouterMetrics, slowRouting } from './slow-metrics.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-metrics-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** A quantized model whose routers were disturbed too, so that no metric is trivial. */
async function disturbed(reference: string): Promise<string> {
  const { layers } = prepareModel(reference);
  const { model } = await quantizeModel(reference, null, configFrom('scheme=w4a4', ...dataFree));
  const next = random(3);
  for (const name of new Set(layers.map(({ router }) => router.linear!.name)))
    editConstant(model, name, (values) => values.forEach((value, i) => (values[i] = value * (0.6 + next()))));
  const path = join(folder, 'disturbed.onnx');
  writeModel(model, path, { force: true });
  return path;
}

/** What a layer's experts make of its pairs, and the expert of each pair. */
function part(id: string): string[] {
  return ['results', 'pair_experts'].map((name) => `moeq/${id}/${name}`);
}

/** Every metric by its definition, from what both models compute for one batch. */
async function slowly(reference: string, quantized: string, records: readonly DataRecord[]) {
  const { layers } = prepareModel(reference);
  const q = exposedQuantized(quantized);
  const r = exposedReference(reference, q.model);
  const [batch, ...others] = makeBatches(records, declaredInputs(openModel(reference)));
  expect(others).toEqual([]);
  const output = openModel(reference).graph.outputs.find(({ dtype }) => dtype === 'float32')!.name;
  const routerNames = ({ logits, routing }: (typeof q.layers)[0]) => [
    logits,
    routing.weights,
    routing.indices,
  ];
  const fromR = await runExposed(
    r,
    [output, ...r.layers.flatMap((layer) => [layer.entry, ...routerNames(layer), ...part(layer.id)])],
    batch,
  );
  const fromQ = await runExposed(q, [output, ...q.layers.flatMap(routerNames)], batch);
  const routing = (i: number, record: (typeof q.layers)[0], tensors: typeof fromQ) => {
    const { logits, routing: at } = record;
    const indices = at.indices === null ? null : tensorOf(tensors[at.indices]);
    const { experts } = layers[i].router;
    return slowRouting(experts, at.form!, tensorOf(tensors[logits]), tensorOf(tensors[at.weights]), indices);
  };
  const compared = layers.map(async ({ id, experts }, i) => {
    const [own, other] = [r.layers[i], q.layers[i]];
    const entry = { [other.entry]: fromR[own.entry] };
    const local = await runBetween(q, entry, routerNames(other), batch.feeds);
    const forced = {
      ...entry,
      [other.routing.weights]: fromR[own.routing.weights],
      ...(own.routing.indices && { [other.routing.indices!]: fromR[own.routing.indices] }),
    };
    const [name] = part(id);
    const results = await runBetween(q, forced, [name], batch.feeds);
    const routings = {
      reference: routing(i, own, fromR),
      local: routing(i, other, local),
      cumulative: routing(i, other, fromQ),
    };
    return {
      id,
      local: slowRouterMetrics(routings.reference, routings.local),
      cumulative: slowRouterMetrics(routings.reference, routings.cumulative),
      experts: slowExperts(
        experts.filter(({ kind }) => kind === 'ffn').map(({ index }) => index),
        routings,
        {
          experts: tensorOf(fromR[`moeq/${id}/pair_experts`]).data,
          reference: tensorOf(fromR[name]),
          quantized: tensorOf(results[name]),
        },
      ),
    };
  });
  const outputs = { reference: tensorOf(fromR[output]), quantized: tensorOf(fromQ[output]) };
  return { layers: await Promise.all(compared), outputs };
}

/** Within 1e-6 (of the value, where it is above 1), and NaN where NaN is expected. */
function expectClose(actual: unknown, expected: Record<string, unknown>, where: string): void {
  for (const [name, value] of Object.entries(expected)) {
    const other = (actual as Record<string, unknown>)[name];
    if (typeof value !== 'number' || Number.isNaN(value)) expect(other, `${where} ${name}`).toEqual(value);
    else {
      const gap = Math.abs((other as number) - value) / Math.max(1, Math.abs(value));
      expect(gap, `${where} ${name}: ${String(other)}, ${value}`).toBeLessThan(1e-6);
    }
  }
}

function lengthOf({ inputs }: DataRecord): number {
  return inputs['input_ids'].data.length;
}

async function compareAll(reference: string, records: readonly DataRecord[]) {
  const quantized = await disturbed(reference);
  const report = await verify(reference, quantized, records, { optimization: 'disabled', threads: 1 });
  const slow = await slowly(reference, quantized, records);
  slow.layers.forEach(({ id, local, cumulative, experts }, i) => {
    const { router, experts: measured } = report.layers[i];
    expectClose(router.local, { ...local }, `${id} local`);
    expectClose(router.cumulative, { ...cumulative }, `${id} cumulative`);
    experts.forEach(({ kept, ...figures }, e) => {
      expectClose(measured[e], figures, `${id} expert ${e}`);
      expectClose(measured[e].kept, { ...kept }, `${id} expert ${e} kept`);
    });
  });
  expectClose(report.output, slowOutput(slow.outputs.reference, slow.outputs.quantized), 'output');
  return { report, outputs: slow.outputs };
}

test.each([
  'out5.qwen3_moe.batched_mm.ts',
  'out5.deepseek_v3.batched_mm.dyn.optimized',
  'out5.gpt_oss.batched_mm.ts',
  'custom.densemask.ts',
  'custom.gshard.ts',
  'own.capacity.dyn',
  'own.fast-gelu.optimized',
  'own.moe-plus-plus.ts',
  'own.stack-gather.ts',
])('every metric of %s equals its definition', async (name) => {
  const reference = join(root, 'test/fixtures/graphs', `${name}.onnx`);
  const { report } = await compareAll(reference, randomRecords(openModel(reference), 4));
  expect(report.layers[0].router.local.topKAgreement).toBeLessThan(1);
});

test('every metric of a language model equals its definition, perplexity too', async () => {
  const all = bundledRecords(evaluationData);
  const records = all.filter((record) => lengthOf(record) === lengthOf(all[0])).slice(0, 6);
  const { report, outputs } = await compareAll(bundledModel('loop.dyn'), records);
  const length = lengthOf(records[0]);
  for (const side of ['reference', 'quantized'] as const) {
    const { dims, data } = outputs[side];
    const size = length * dims.at(-1)!;
    const nll = records.map(({ inputs }, i) =>
      slowLikelihood(
        { dims, data: data.slice(i * size, (i + 1) * size) },
        Array.from(inputs['input_ids'].data as ArrayLike<number>, Number),
      ),
    );
    const total = nll.reduce((sum, each) => sum + each, 0);
    const perplexity = Math.exp(total / (records.length * (length - 1)));
    expect(report.output.perplexity![side] / perplexity).toBeCloseTo(1, 6);
  }
});
