import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { planJob } from '../../src/jobs/plan/plan-job.ts';
import { openStore } from '../../src/jobs/store/artefact-store.ts';
import { artefactsIn, storePlan } from '../../src/jobs/store/work-folder.ts';
import runItem from '../../src/jobs/threads/item-worker.ts';
import { bundledModel, calibrationData, configFrom } from '../helpers/bundled.ts';

const settings = [
  `data=${calibrationData}`,
  'calibration.records=4',
  'calibration.balance.enabled=false',
  'rounding.method=rtn',
  'rotation.down=none',
];

/** Runs items of a plan, and tells whether their results are there. */
async function openPlan(...more: string[]): Promise<{
  run: (item: string) => ReturnType<typeof runItem>;
  missing: (...ids: string[]) => string[];
}> {
  const work = mkdtempSync(join(tmpdir(), 'moeq-items-'));
  const config = configFrom(...settings, ...more);
  const plan = await planJob({ name: 'a', model: bundledModel('loop.dyn'), recipe: 'r', config }, work);
  const key = storePlan(work, plan);
  const store = openStore(artefactsIn(work));
  return {
    run: (item) => runItem({ work, plan: key, item, threads: 1 }),
    missing: (...ids) => ids.filter((id) => !store.has(plan.items.find((item) => item.id === id)!.key)),
  };
}

test('calibrating any layer calibrates all, and an expert is not rounded without its statistics', async () => {
  const { run, missing } = await openPlan();
  expect(await run('quantize:L1.E3')).toMatchObject({ code: 'ARTEFACT_DAMAGED', where: 'calibrate:L1' });
  expect(missing('quantize:L1.E3')).toEqual(['quantize:L1.E3']);
  expect(await run('calibrate:L2')).toBeNull();
  expect(missing('calibrate', 'calibrate:L0', 'calibrate:L1', 'calibrate:L2')).toEqual([]);
  expect(await run('quantize:L1.E3')).toBeNull();
  expect(missing('quantize:L1.E3')).toEqual([]);
});

test('where it is to be tried, tokens are also calibrated by their routing weight', async () => {
  const { run, missing } = await openPlan('rounding.method=gptq', 'rounding.sweeps=0');
  expect(await run('calibrate:L0')).toBeNull();
  expect(missing('calibrate:L1', 'calibrate:L0:affinity', 'calibrate:L2:affinity')).toEqual([]);
  expect(await run('quantize:L1.E3:none, affinity')).toBeNull();
  expect(missing('quantize:L1.E3', 'quantize:L1.E3:none, affinity')).toEqual(['quantize:L1.E3']);
});
