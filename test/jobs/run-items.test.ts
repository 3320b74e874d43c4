import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { configSchema, type Settings } from '../../src/config/schema.ts';
import { planJob } from '../../src/jobs/plan/plan-job.ts';
import type { WorkItem } from '../../src/jobs/plan/plan.ts';
import { trialsOfVariants } from '../../src/pipeline/trials/settle-variants.ts';
import { smallTextModel } from '../helpers/small-text-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-runs-'));
const { model: small } = smallTextModel(folder);
const recordsOf = (count: number): string => {
  const path = join(folder, `${count}.jsonl`);
  writeFileSync(path, `{"text":"${'123 '.repeat(32)}"}\n`.repeat(count));
  return path;
};

async function itemsOf(count: number, settings: Settings = {}): Promise<Map<string, WorkItem>> {
  const config = configSchema.parse({ scheme: 'w4a4', data: recordsOf(count), ...settings });
  const job = { name: 'a', model: small, recipe: 'r', config };
  const { items } = await planJob(job, folder);
  return new Map(items.map((item) => [item.id, item]));
}

const seconds = (items: Map<string, WorkItem>, id: string): number => items.get(id)!.seconds;

test('routers are realigned where a conversion would, after the variants are settled', async () => {
  const [few, many] = [await itemsOf(63), await itemsOf(64)];
  expect([few.has('realign'), many.has('realign')]).toEqual([false, true]);
  expect(many.get('realign')!.needs).toContain('variants');
  expect(many.get('emit')!.needs).toContain('realign');
  expect((await itemsOf(64, { router: { realign: false } })).has('realign')).toBe(false);
  expect((await itemsOf(64, { scheme: 'w8a8' })).has('realign')).toBe(false);
});

test('routers in 8 bits are an item after their realignment', async () => {
  const items = await itemsOf(64, { router: { bits: 8 } });
  expect(items.get('router')!.needs).toContain('realign');
  expect(items.get('emit')!.needs).toContain('router');
});

test('time follows the runs there are: variants tried, corrections tried, causes told apart', async () => {
  const all = await itemsOf(64);
  const one = await itemsOf(64, { rotation: { down: 'none' } });
  // Three models or two; where their mixtures are tried, for each of two layers two more or one.
  const [ofAll, ofOne] = [trialsOfVariants(3, 2), trialsOfVariants(2, 2)];
  expect([ofAll, ofOne]).toEqual([3 + 4 / 2, 2 + 2 / 2]);
  // The reference is run once beside them.
  expect(seconds(all, 'variants') / seconds(one, 'variants')).toBeCloseTo((ofAll + 1) / (ofOne + 1));
  const whole = await itemsOf(64, { verify: { attribution: false } });
  expect(seconds(all, 'verify') / seconds(whole, 'verify')).toBeCloseTo(2);
  // Both models on all records; the written one for its gaps on three quarters, and on the others without correction
  // and with three.
  const run = async (records: number): Promise<number> =>
    (2 * seconds(await itemsOf(records), 'variants')) / (ofAll + 1);
  const expected = (await run(64)) + (await run(48)) / 2 + 2 * (await run(16));
  expect(seconds(all, 'realign')).toBeCloseTo(expected);
});

test('more tokens take more time, up to a batch more memory; limits count', async () => {
  const [few, many] = [await itemsOf(8), await itemsOf(16)];
  for (const id of ['calibrate', 'variants', 'verify']) {
    expect(many.get(id)!.seconds).toBeGreaterThan(few.get(id)!.seconds);
    expect(many.get(id)!.memory).toBeGreaterThan(few.get(id)!.memory);
  }
  const limited = await itemsOf(16, { verify: { records: 8 }, calibration: { records: 8 } });
  expect(limited.get('verify')!.seconds).toBeCloseTo(few.get('verify')!.seconds);
  expect(limited.get('calibrate')!.seconds).toBeCloseTo(few.get('calibrate')!.seconds);
  const [batch, more] = [await itemsOf(32), await itemsOf(64)];
  expect(more.get('verify')!.memory).toBe(batch.get('verify')!.memory);
});
