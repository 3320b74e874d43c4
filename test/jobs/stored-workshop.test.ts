import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { configSchema } from '../../src/config/schema.ts';
import { planJob } from '../../src/jobs/plan/plan-job.ts';
import { openWorkshop } from '../../src/jobs/threads/stored-workshop.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { orderLayer } from '../../src/pipeline/layer/order-layer.ts';
import { settledBy } from '../../src/pipeline/layer/variant.ts';
import { variantsTried } from '../../src/pipeline/trials/variants-tried.ts';
import { plainWorkshop } from '../../src/pipeline/workshop.ts';

const fixtures = join(import.meta.dirname, '../fixtures/models/tasks-olmoe');
const model = join(fixtures, 'loop.dyn.onnx');
const data = join(import.meta.dirname, '../../calib-data/tasks-calib.jsonl');

test('the weights with and without a rotation that is tried are kept apart', async () => {
  const work = mkdtempSync(join(tmpdir(), 'moeq-workshop-'));
  const config = configSchema.parse({ data, smoothing: { enabled: false }, rounding: { method: 'rtn' } });
  const plan = await planJob({ name: 'a', model, recipe: 'r', config }, work);
  const task = { work, plan: 'a plan', threads: 1, memory: 1e9 };
  const workshop = openWorkshop({ plan, task, spool: join(work, 'spool'), checkpoint: () => {} });
  const [layer] = prepareModel(model).layers;
  const [expert] = layer.experts;
  const made = [];
  for (const variant of variantsTried(config, true).slice(0, 2)) {
    const order = orderLayer(layer, null, settledBy(config, variant));
    const stored = (await workshop.quantizeExperts(order))(expert);
    expect(stored).toEqual((await plainWorkshop.quantizeExperts(order))(expert));
    made.push(stored.weights.down.weight.codes);
  }
  expect(made[0]).not.toEqual(made[1]);
  await workshop.close();
});
