import { expect, test } from 'vitest';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { distanceFrom, joint } from '../../src/pipeline/distance.ts';
import { swapColumns } from '../helpers/break-model.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';

test('a model in which two experts get each other’s tokens is farther, in its output and in its routers', async () => {
  const path = bundledModel('fused.moe');
  const records = bundledRecords(calibrationData, 8);
  const config = configFrom();
  const [whole, broken] = [prepareModel(path), prepareModel(path)];
  swapColumns(broken.model, broken.layers[1], 0, 1);
  const near = await distanceFrom(whole.model, records, { path, config });
  const far = await distanceFrom(broken.model, records, { path, config });
  expect(far.divergence).toBeGreaterThan(near.divergence);
  expect(far.rerouted).toBeGreaterThan(near.rerouted);
  expect(joint(far)).toBeGreaterThan(joint(near));
});
