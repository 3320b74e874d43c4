import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import type { Role } from '../../src/moe/roles.ts';
import type { Model } from '../../src/onnx/model.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { inspectModel } from '../../src/pipeline/inspect-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { describeInspection } from '../../src/report/describe-inspection.ts';
import type { Inspection } from '../../src/report/inspection.ts';
import { bundledModel, configFrom, dataFree } from '../helpers/bundled.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { makeModel } from '../helpers/make-model.ts';
import { root } from '../helpers/run-cli.ts';
import {
  block,
  choose,
  expert,
  logits,
  maskedExperts,
  sharedExperts,
  sum,
  weight,
} from '../moe/helpers/parts.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-inspect-'));
afterAll(() => rmSync(folder, { recursive: true }));

const withShared = join(root, 'test/fixtures/graphs/out5.deepseek_v3.batched_mm.dyn.optimized.onnx');

function inspected(model: Model): Inspection {
  const path = join(folder, 'model.onnx');
  writeModel(model, path, { force: true });
  return inspectModel(path, { explain: false });
}

test('a file that moeq quantized says so, counts its experts, and is not quantized again', async () => {
  const { model } = await quantizeModel(bundledModel('loop.dyn'), null, configFrom(...dataFree));
  const inspection = inspected(model);
  expect(inspection.notes).toEqual([
    expect.stringMatching(/^This file was quantized by moeq \S+ \(w4a4, int: 3 layers, 48 experts\)/),
  ]);
  expect(describeInspection(inspection)).toContain(inspection.notes[0]);
  expect(inspection.sizes.find(({ role }) => role === 'expert')!.bytes).toBeGreaterThan(500_000);
  expect(faultOf(() => prepareModel(inspection.model.path))).toMatchObject({
    code: 'MOE_NONE',
    why: 'moeq quantized it already',
  });
});

describe.each([
  ['a router', bundledModel('loop.dyn'), ['router', 'attention', 'embedding', 'head']],
  ['shared experts', withShared, ['router', 'shared']],
] as const)('%s', (_, path, roles) => {
  test('has the bytes in a quantized file that it has in its source', async () => {
    const { model } = await quantizeModel(path, null, configFrom(...dataFree));
    const source = bytesOf(inspectModel(path, { explain: false }), roles);
    expect(bytesOf(inspected(model), roles)).toEqual(source);
    expect(Object.keys(source)).toHaveLength(roles.length);
  });
});

test('shared experts in 8 bits are shared experts still', async () => {
  const { model } = await quantizeModel(withShared, null, configFrom(...dataFree, 'dense.scheme=w8a8'));
  const [source, quantized] = [inspectModel(withShared, { explain: false }), inspected(model)];
  const [before, after] = [source, quantized].map((inspection) => bytesOf(inspection, ['shared']).shared!);
  expect(after).toBeGreaterThan(before / 4);
  expect(after).toBeLessThan(before / 2);
});

function bytesOf({ sizes }: Inspection, roles: readonly Role[]): Partial<Record<Role, number>> {
  return Object.fromEntries(
    sizes.filter(({ role }) => roles.includes(role)).map(({ role, bytes }) => [role, bytes]),
  );
}

test('a model without experts says so, and whether something came close', () => {
  const tokens = ['float32', ['batch', 8]] as const;
  const plain = makeModel({ x: tokens }, (b, x) => ({ y: b.op('Neg', [x]) }));
  expect(inspected(plain).notes).toEqual(['No Mixture-of-Experts layer was found.']);
  const classifier = makeModel({ x: tokens }, (b, x) => ({
    y: b.op('Softmax', [b.op('MatMul', [x, weight(b, 'head', [8, 5])])]),
  }));
  expect(inspected(classifier).notes).toEqual([
    'No Mixture-of-Experts layer was found; what came closest (1): see --explain.',
  ]);
});

/** Four experts that nothing weighs beside a layer, on an input of their own. */
function besides(): Model {
  return block((b, x) => {
    const own = maskedExperts(b, x, choose(b, logits(b, x)));
    const other = b.op('Tanh', [x]);
    const twins = [4, 5, 6, 7].map((e) => expert(b, other, e));
    return sum(b, [own, ...twins]);
  });
}

test('weights like those of experts that belong to no layer are told of', async () => {
  const notes = [
    expect.stringMatching(/8 weights of 12 by 8, as experts of L0 have.* They stay as they are\.$/),
  ];
  const { notes: inspectionNotes, model } = inspected(besides());
  expect(inspectionNotes).toEqual(notes);
  const quantized = await quantizeModel(model.path, null, configFrom(...dataFree));
  expect(quantized.notes).toEqual(notes);
});

test('a layer whose experts could not be put together claims nothing of them', () => {
  const ungated = sharedExperts();
  const unequal = block((b, x) =>
    maskedExperts(b, x, choose(b, logits(b, x)), (_, tokens, e) =>
      (e === 2 ? ungated : expert)(b, tokens, e),
    ),
  );
  const text = describeInspection(inspected(unequal));
  expect(text).toMatch(/^L0 +loop +softmax +\? +\? +\? +\? +– +– +incomplete$/m);
  expect(text).not.toContain('NaN');
});

test('a model with layers needs no note', () => {
  expect(inspectModel(bundledModel('fused.moe'), { explain: false }).notes).toEqual([]);
});

test('the inputs that records are to give are listed, for people and as JSON', () => {
  const inspection = inspectModel(bundledModel('loop.dyn'), { explain: false });
  expect(inspection.model.inputs).toEqual([
    { name: 'input_ids', dtype: 'int64', shape: ['batch', 'sequence'] },
  ]);
  expect(describeInspection(inspection)).toContain('\ninputs input_ids int64 [batch, sequence]\n');
});
