import { expect, test } from 'vitest';
import { realignRouter } from '../../src/pipeline/routers/realign-router.ts';
import type { RouterMetrics } from '../../src/report/report.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';

test('a router that cannot be fitted is named, with what to do', async () => {
  const { model, layer } = syntheticLayer({ hidden: 8, experts: 4 });
  const agreement = { topKAgreement: 0.5, exactSet: 0.5, top1Agreement: 0.5, marginFlipRate: 0.5 };
  const metrics: RouterMetrics = { mse: 1, kl: 1, weightL1: 1, ...agreement };
  const gap = { gram: new Float64Array(64).fill(NaN), cross: new Float64Array(32) };
  const runs = { gap: () => Promise.resolve(gap), judge: () => Promise.resolve(metrics) };
  await expect(realignRouter(model, layer, runs)).rejects.toMatchObject({
    code: 'HESSIAN_NOT_POSITIVE',
    where: 'router of layer L0',
    remedy: expect.stringContaining('router.realign=false') as string,
  });
});
