import { expect, test } from 'vitest';
import { calibrate } from '../../src/calibrate/calibrate.ts';
import { makeBatches } from '../../src/data/batches.ts';
import { declaredInputs } from '../../src/data/model-input.ts';
import type { PreparedModel } from '../../src/moe/prepare-model.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { gramBytesOf } from '../../src/pipeline/calibrator.ts';
import { bundledModel, bundledRecords, calibrationData } from '../helpers/bundled.ts';

const open = (): PreparedModel => prepareModel(bundledModel('loop.dyn'));

test('what all XᵀX of a model take is known before a run', async () => {
  const { model, layers } = open();
  const batches = [...makeBatches(bundledRecords(calibrationData), declaredInputs(model))];
  const stats = await calibrate(open, batches, { gram: true, threads: 1 });
  const grams = stats.flatMap(({ experts }) =>
    experts.flatMap(({ input, hidden }) => [input.gram, hidden.gram]),
  );
  expect(grams.length).toBeGreaterThan(16);
  expect(gramBytesOf(layers)).toBe(grams.reduce((sum, gram) => sum + gram!.byteLength, 0));
});
