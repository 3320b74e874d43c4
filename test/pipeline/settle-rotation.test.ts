import { expect, test } from 'vitest';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { distanceFrom } from '../../src/pipeline/distance.ts';
import { rotationName, rotationsTried, settleRotation } from '../../src/pipeline/settle-rotation.ts';
import { swapColumns } from '../helpers/break-model.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';

const all = ['none', 'hadamard of 4', 'hadamard of 16', 'hadamard'];

const tried = (hasRecords: boolean, ...settings: string[]): string[] =>
  rotationsTried(configFrom(...settings), hasRecords).map(rotationName);

test('auto tries none, small blocks and a whole one, given records and coarse activations', () => {
  expect(tried(true, 'scheme=w4a4')).toEqual(all);
  expect(tried(true, 'rotation.block=32')).toEqual(['none', 'hadamard of 32']);
  expect(tried(false, 'scheme=w4a4')).toEqual(['none']);
  expect(tried(true, 'scheme=w4a8')).toEqual(['none']);
  expect(tried(true, 'rotation.down=hadamard')).toEqual(['hadamard']);
});

test('what comes nearest to the reference is taken, whatever its place', async () => {
  const path = bundledModel('fused.moe');
  const config = configFrom('router.realign=false');
  const records = bundledRecords(calibrationData, 8);
  for (const nearest of ['none', 'hadamard of 16', 'hadamard']) {
    const forgotten: string[] = [];
    const settled = await settleRotation(config, true, {
      async write(rotation) {
        const { model, layers } = prepareModel(path);
        // Stands for a worse rotation: two experts of a layer get each other's tokens.
        if (rotationName(rotation) !== nearest) swapColumns(model, layers[1], 0, 1);
        return { distance: () => distanceFrom(model, records, { path, config }) };
      },
      forget: (rotation) => void forgotten.push(rotationName(rotation)),
    });
    expect(rotationName(settled)).toBe(nearest);
    expect(new Set(forgotten)).toEqual(new Set(all.filter((name) => name !== nearest)));
  }
});
