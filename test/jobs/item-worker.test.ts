import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/jobs/artefact-store.ts';
import runItem from '../../src/jobs/item-worker.ts';
import { planJob } from '../../src/jobs/plan-job.ts';
import { artefactsIn, storePlan } from '../../src/jobs/work-folder.ts';
import { bundledModel, calibrationData, configFrom } from '../helpers/bundled.ts';

const settings = [
  `data=${calibrationData}`,
  'calibration.records=4',
  'calibration.balance.enabled=false',
  'rounding.method=rtn',
  'rotation.down=none',
];

test('calibrating any layer calibrates all, and an expert is not rounded without its statistics', async () => {
  const work = mkdtempSync(join(tmpdir(), 'moeq-items-'));
  const job = { name: 'a', model: bundledModel('loop.dyn'), recipe: 'r', config: configFrom(...settings) };
  const plan = await planJob(job, work);
  const key = storePlan(work, plan);
  const run = (item: string): ReturnType<typeof runItem> => runItem({ work, plan: key, item, threads: 1 });
  const store = openStore(artefactsIn(work));
  const isMade = (id: string): boolean => store.has(plan.items.find((item) => item.id === id)!.key);

  expect(await run('quantize:L1.E3')).toMatchObject({ code: 'ARTEFACT_DAMAGED', where: 'calibrate:L1' });
  expect(isMade('quantize:L1.E3')).toBe(false);
  expect(await run('calibrate:L2')).toBeNull();
  expect(['calibrate', 'calibrate:L0', 'calibrate:L1', 'calibrate:L2'].filter((id) => !isMade(id))).toEqual(
    [],
  );
  expect(await run('quantize:L1.E3')).toBeNull();
  expect(isMade('quantize:L1.E3')).toBe(true);
});
