import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { planJob } from '../../src/jobs/plan/plan-job.ts';
import { openWorkshop } from '../../src/jobs/threads/stored-workshop.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import type { Workshop } from '../../src/pipeline/workshop.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';

const path = bundledModel('loop.dyn');
const settings = [
  'calibration.balance.enabled=false',
  'rounding.sweeps=0',
  'rotation.down=none',
  'calibration.affinity=false',
  'router.realign=false',
];
const data = { records: bundledRecords(calibrationData, 16), pool: [] };

function quantized(sequential: boolean, workshop?: Workshop): Promise<QuantizedModel> {
  const config = configFrom(...settings, `calibration.sequential=${sequential}`);
  return quantizeModel(path, data, config, () => {}, workshop);
}

test('in sequence the first layer is what it was, and the others are made for what it gives', async () => {
  const [once, inSequence] = [await quantized(false), await quantized(true)];
  const [before, after] = [once, inSequence].map(({ layers }) =>
    layers.map(({ smoothing }) => smoothing.input),
  );
  expect(after[0]).toEqual(before[0]);
  for (const layer of [1, 2]) expect(after[layer]).not.toEqual(before[layer]);
  const [some, others] = [once, inSequence].map(({ layers }) => layers.map(({ stats }) => stats!));
  expect(others.map(({ tokens }) => tokens)).toEqual(some.map(({ tokens }) => tokens));
});

test('a batch writes the same bytes, also when it goes on from what another run left', async () => {
  const work = mkdtempSync(join(tmpdir(), 'moeq-sequential-'));
  const config = configFrom(...settings, 'calibration.sequential=true', `data=${calibrationData}`);
  const plan = await planJob({ name: 'a', model: path, recipe: 'r', config }, work);
  const task = { work, plan: 'a plan', threads: 1, memory: 1e9 };
  const options = { plan, task, spool: join(work, 'spool'), checkpoint: () => {} };
  const expected = encodeModel((await quantized(true)).model);
  // Within the second layer.
  let left = 25;
  const checkpoint = (): void => {
    if (left-- === 0) throw new Error('stopped');
  };
  const stopped = openWorkshop({ ...options, checkpoint });
  await expect(quantized(true, stopped)).rejects.toThrow('stopped');
  await stopped.close();
  const workshop = openWorkshop(options);
  expect(encodeModel((await quantized(true, workshop)).model)).toEqual(expected);
  await workshop.close();
});
