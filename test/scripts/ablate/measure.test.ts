import { expect, test } from 'vitest';
import { measure } from '../../../scripts/ablate/measure.ts';
import { bundledModel, bundledRecords, configFrom, dataFree, evaluationData } from '../../helpers/bundled.ts';

const records = bundledRecords(evaluationData).filter((_, i) => i % 8 === 0);
const half = { calibration: records.slice(0, 40), evaluation: records.slice(40) };
const subject = {
  name: 'tasks-olmoe',
  model: bundledModel('batched.dyn'),
  identity: '',
  data: { given: { calibration: [], evaluation: records }, skewed: half },
};

test('measures plain rounding', async () => {
  const config = configFrom(...dataFree, 'router.realign=false');
  const { match, kl, agreement, belowFloor } = await measure(subject, { name: '', config, records: 'given' });
  expect(match).toBeGreaterThan(0.8);
  expect(kl).toBeGreaterThan(1e-4);
  expect(kl).toBeLessThan(0.05);
  expect(agreement).toBeGreaterThan(0.9);
  expect(agreement).toBeLessThan(1);
  expect(belowFloor).toBeNull();
});

test('tells how many experts balancing lifted above the floor', async () => {
  const config = configFrom('rounding.method=rtn', 'rotation.down=none', 'calibration.records=8');
  const { belowFloor } = await measure(subject, { name: '', config, records: 'skewed' });
  expect(belowFloor!.of).toBe(48);
  expect(belowFloor!.after).toBeLessThan(belowFloor!.before);
});
