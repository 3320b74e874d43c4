import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { LayerStats } from '../../src/calibrate/layer-stats.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import type { Workshop } from '../../src/pipeline/workshop.ts';
import { plainWorkshop } from '../../src/pipeline/workshop.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const config = configFrom(
  'calibration.byLayer=always',
  'calibration.balance.enabled=false',
  'rounding.sweeps=0',
);
const data = { records: bundledRecords(calibrationData, 12), pool: [] };

test('XᵀX and codes of a layer leave memory before the next layer is calibrated', async () => {
  const grams: WeakRef<object>[] = [];
  const codes: WeakRef<object>[] = [];
  const workshop: Workshop = {
    ...plainWorkshop,
    async remember(step, compute) {
      await setImmediate();
      collectGarbage();
      expect([...grams, ...codes].filter((each) => each.deref())).toEqual([]);
      const result = await compute();
      if (step.startsWith('calibrate:'))
        grams.push(new WeakRef((result as LayerStats).experts[0].input.gram!));
      return result;
    },
    async quantizeExperts(order) {
      const expertOf = await plainWorkshop.quantizeExperts(order);
      codes.push(new WeakRef(expertOf(order.layer.experts[0]).weights.up.weight.codes));
      return expertOf;
    },
  };
  await quantizeModel(bundledModel('loop.dyn'), data, config, () => {}, workshop);
  expect([grams.length, codes.length]).toEqual([3, 3]);
});
