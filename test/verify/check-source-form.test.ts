import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { DataRecord } from '../../src/data/record.ts';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import type { PreparedModel } from '../../src/moe/prepare-model.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { checkSourceForm } from '../../src/verify/check-source-form.ts';
import { bundledModel, bundledRecords, calibrationData, forms } from '../helpers/bundled.ts';
import type { Part } from '../moe/helpers/parts.ts';
import { block, choose, experts, flat, logits, maskedExperts } from '../moe/helpers/parts.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-source-form-'));
afterAll(() => rmSync(folder, { recursive: true }));

const records = bundledRecords(calibrationData, 20);

/** A model whose second layer is taken for something else. */
function misread(path: string, change: (layer: MoeLayer) => void): PreparedModel {
  const prepared = prepareModel(path);
  change(prepared.layers[1]);
  return prepared;
}

describe.each(forms)('%s', (form) => {
  const path = bundledModel(form);

  test.each([
    ['records', records],
    ['tokens that are made up', []],
  ] as const)('computes what was read from it, on %s', async (_, given) => {
    await expect(checkSourceForm(prepareModel(path), given)).resolves.toEqual([]);
  });
});

const mistakes: [string, (layer: MoeLayer) => void][] = [
  ['another activation', (layer) => (layer.activation = { ...layer.activation, name: 'gelu' })],
  ['a limit', (layer) => (layer.activation = { ...layer.activation, limit: 0.5 })],
  [
    'experts of other columns',
    ({ experts }) => {
      const [first, second] = experts;
      [first.index, second.index] = [second.index, first.index];
    },
  ],
];

test('a layer that does not run as it was read is told from the one in the file, which does', async () => {
  const prepared = misread(bundledModel('loop.dyn'), ({ boundary }) => {
    const { routing } = boundary!;
    boundary!.routing = { ...routing, k: 1 } as typeof routing;
  });
  await expect(checkSourceForm(prepared, records)).rejects.toMatchObject({
    code: 'LAYER_MISREAD',
    what: 'layer L1 does not run as it was read, and does as it stands in the file',
  });
});

test.each(mistakes)(
  'a layer that is taken for one with %s is told from the one in the file',
  async (_, change) => {
    const prepared = misread(bundledModel('loop.dyn'), change);
    await expect(checkSourceForm(prepared, records)).rejects.toMatchObject({
      code: 'LAYER_MISREAD',
      what: expect.stringContaining('layer L1'),
    });
  },
);

/** Tokens and logits are sorted by time, which is as they come only where there is one record. */
const byTime: Part = (b, x) => {
  const turn = (value: Value): Value => b.op('Transpose', [value], { perm: [1, 0, 2] });
  const rows = b.op('Reshape', [turn(logits(b, x)), b.ints([-1, experts])]);
  const routed = maskedExperts(b, flat(b, turn(x)), choose(b, rows));
  return turn(b.op('Reshape', [routed, b.op('Shape', [turn(x)])]));
};

test('tokens in another order than they are read in show where there are several records', async () => {
  const path = join(folder, 'by-time.onnx');
  writeModel(block(byTime), path);
  await expect(checkSourceForm(prepareModel(path), [])).rejects.toMatchObject({ code: 'LAYER_MISREAD' });
});

test('what ONNX Runtime cannot run as it stands is told, not compared', async () => {
  const broken: DataRecord = {
    ...records[0],
    inputs: { input_ids: { dtype: 'int32', shape: [2], data: Int32Array.of(1, 1_000_000) } },
  };
  const [note, ...more] = await checkSourceForm(prepareModel(bundledModel('loop.dyn')), [broken]);
  expect(note).toContain('ONNX Runtime failed while running the model');
  expect(more).toEqual([]);
});
