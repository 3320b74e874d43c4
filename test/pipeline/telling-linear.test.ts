import { expect, test } from 'vitest';
import { Fault } from '../../src/fault.ts';
import { tellingLinear } from '../../src/pipeline/layer/telling-linear.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';

const [expert] = syntheticLayer({}).layer.experts;
const failing = (error: Error): Promise<never> => tellingLinear(expert, 'up', () => Promise.reject(error));

test('what cannot be rounded is told by expert and linear', async () => {
  const fault = new Fault({ code: 'HESSIAN_NOT_POSITIVE', what: 'no', remedy: 'other records' });
  await expect(failing(fault)).rejects.toMatchObject({
    ...fault.toRecord(),
    where: `expert ${expert.id}, up`,
  });
});

test('a weight that scaling made infinite is told as such, for the tensor holds none', async () => {
  const where = `expert ${expert.id}, up: tensor ${expert.up!.name}, when it was smoothed or rotated`;
  await expect(failing(new Fault({ code: 'WEIGHT_NOT_FINITE', what: 'no' }))).rejects.toMatchObject({
    where,
  });
});

test('a defect stays one', async () => {
  const defect = new TypeError('no');
  await expect(failing(defect)).rejects.toBe(defect);
});
