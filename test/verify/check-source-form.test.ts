import { describe, expect, test } from 'vitest';
import type { DataRecord } from '../../src/data/record.ts';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import type { PreparedModel } from '../../src/moe/prepare-model.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { checkSourceForm } from '../../src/verify/check-source-form.ts';
import { bundledModel, bundledRecords, calibrationData, forms } from '../helpers/bundled.ts';

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

test('what ONNX Runtime cannot run as it stands is told, not compared', async () => {
  const broken: DataRecord = {
    ...records[0],
    inputs: { input_ids: { dtype: 'int32', shape: [2], data: Int32Array.of(1, 1_000_000) } },
  };
  const [note, ...more] = await checkSourceForm(prepareModel(bundledModel('loop.dyn')), [broken]);
  expect(note).toContain('ONNX Runtime failed while running the model');
  expect(more).toEqual([]);
});
