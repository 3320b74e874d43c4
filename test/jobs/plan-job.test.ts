import { copyFileSync, mkdtempSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configSchema, type Settings } from '../../src/config/schema.ts';
import { planJob } from '../../src/jobs/plan/plan-job.ts';
import type { WorkItem } from '../../src/jobs/plan/plan.ts';
import { locate } from '../../src/moe/locate.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { modelFacts } from '../../src/verify/facts.ts';
import { smallTextModel } from '../helpers/small-text-model.ts';

const fixture = join(import.meta.dirname, '../fixtures/models/tasks-olmoe/loop.dyn.onnx');
const other = join(import.meta.dirname, '../fixtures/models/tasks-olmoe/loop.ts.onnx');
const folder = mkdtempSync(join(tmpdir(), 'moeq-plan-'));
const records = join(folder, 'records.jsonl');
writeFileSync(records, '{"text":"1 + 1"}\n');
const dataFree: Settings = { smoothing: { enabled: false }, rounding: { method: 'rtn' } };

/** Where the number of experts does not matter. */
const { model: small } = smallTextModel(mkdtempSync(join(tmpdir(), 'moeq-small-')));

const plan = (settings: Settings, model = small) => {
  const config = configSchema.parse(settings);
  return planJob({ name: 'a.b', model, recipe: 'b', config }, join(folder, 'out'));
};
const keysOf = async (settings: Settings, model?: string) =>
  Object.fromEntries((await plan(settings, model)).items.map(({ id, key }) => [id, key]));

describe('planJob', () => {
  test('lists every expert of every layer, then writing; calibration and verification where there are records', async () => {
    const { layers } = locate(openModel(fixture));
    const experts = layers.flatMap((layer) => layer.experts.map(({ id }) => `quantize:${id}`));
    expect(experts).toHaveLength(48);
    expect((await plan(dataFree, fixture)).items.map(({ id }) => id)).toEqual([...experts, 'emit']);
    const settled = { rotation: { down: 'none' }, calibration: { affinity: false } } as const;
    const { items, hasReport } = await plan({ data: records, ...settled }, fixture);
    const calibrate = ['calibrate', ...layers.map(({ id }) => `calibrate:${id}`)];
    expect(items.map(({ id }) => id)).toEqual([...calibrate, ...experts, 'emit', 'verify']);
    expect(hasReport).toBe(true);
  });

  test('each variant that is to be tried is one more item per expert, and the choice an item of its own', async () => {
    const { items, experts } = await plan({ data: records }, fixture);
    const byId = new Map(items.map((item) => [item.id, item]));
    expect(experts).toBe(48);
    expect(items).toHaveLength(1 + 2 * 3 + 3 * 48 + 3);
    expect(byId.get('quantize:L0.E1:hadamard')!.expert).toEqual({
      layer: 'L0',
      id: 'L0.E1',
      variant: { down: 'hadamard', affinity: false },
    });
    expect(byId.get('quantize:L0.E1:hadamard, affinity')!.needs).toEqual(['calibrate:L0:affinity']);
    expect(byId.get('variants')!.needs).toHaveLength(3 * 48);
    expect(byId.get('emit')!.needs).toContain('variants');
  });

  test('the estimate of the result counts codes and scales; what cannot be written is refused', async () => {
    const int = await plan({ ...dataFree, scheme: 'w4a8', target: 'int' }, fixture);
    const nbits = await plan({ ...dataFree, scheme: 'w4a16', target: 'nbits', group: 32 }, fixture);
    // 48 experts: gate and up [64, 128], down [128, 64]; one float16 scale per row, or per 32 weights.
    const [weights, rows] = [48 * 3 * 128 * 64, 48 * (64 + 64 + 128)];
    expect(int.size.before).toBe(statSync(fixture).size);
    expect(int.size.after).toBe(int.size.before - weights * 4 + weights / 2 + rows * 2);
    expect(nbits.size.after).toBe(nbits.size.before - weights * 4 + weights / 2 + (weights / 32) * 2);
    await expect(plan({ scheme: 'w4a16', target: 'int' }, fixture)).rejects.toMatchObject({
      code: 'SCHEME_TARGET',
    });
  });

  test('a model has the size of its file and of the weights beside it, as in its report', async () => {
    const path = join(folder, 'external.onnx');
    writeModel(openModel(small), path, { externalData: true });
    const { size } = await plan(dataFree, path);
    expect(size.before).toBe((await modelFacts(openModel(path))).bytes);
  });

  test('records that are not there are told before anything runs', async () => {
    const data = join(folder, 'none.jsonl');
    await expect(plan({ data })).rejects.toMatchObject({ code: 'DATA_NOT_FOUND', where: data });
  });

  test('every item comes after what it needs, and is plain JSON', async () => {
    const { items, ...rest } = await plan({ data: records }, fixture);
    expect(JSON.parse(JSON.stringify({ items, ...rest }))).toEqual({ items, ...rest });
    const seen = new Set<string>();
    for (const item of items) {
      expect(item.needs.filter((id) => !seen.has(id))).toEqual([]);
      seen.add(item.id);
    }
    const byId = new Map(items.map((item): [string, WorkItem] => [item.id, item]));
    expect(byId.get('quantize:L1.E3')!.needs).toEqual(['calibrate:L1']);
    expect(byId.get('calibrate:L1')!.needs).toEqual(['calibrate']);
    expect(byId.get('quantize:L1.E3')!.inputs).toHaveLength(3);
    expect(byId.get('verify')!.needs).toEqual(['emit']);
    // gate, up and down of 128 x 64 in float32
    expect(byId.get('quantize:L1.E3')!.bytes).toBe(3 * 128 * 64 * 4);
    for (const { memory, seconds } of items) expect(Math.min(memory, seconds)).toBeGreaterThan(0);
  });

  test('keys are unique in a plan, and the same when it is made again', async () => {
    const { items } = await plan({ data: records });
    expect(new Set(items.map(({ key }) => key)).size).toBe(items.length);
    expect((await plan({ data: records })).items).toEqual(items);
  });

  test('a copy of the model elsewhere, at another time, has the same keys', async () => {
    const copy = join(folder, 'copy.onnx');
    copyFileSync(small, copy);
    utimesSync(copy, 1, 1);
    expect(await keysOf(dataFree, copy)).toEqual(await keysOf(dataFree));
  });

  test.each([
    ['threads', { threads: 3 }],
    ['the seed', { seed: 1 }],
    ['records a data-free recipe does not read', { calibration: { records: 3 } }],
  ] satisfies [string, Settings][])('%s change no key', async (_what, settings) => {
    expect(await keysOf({ ...dataFree, ...settings })).toEqual(await keysOf(dataFree));
  });

  test('gates change no key, and take records to hold them against', async () => {
    const gates = { min: { topKAgreement: 0.5 } };
    const measured = { ...dataFree, data: records };
    expect(await keysOf({ ...measured, gates })).toEqual(await keysOf(measured));
    await expect(plan({ ...dataFree, gates })).rejects.toMatchObject({ code: 'DATA_REQUIRED' });
  });

  test.each([
    ['the scheme', { scheme: 'w8a8' }],
    ['the rounding', { rounding: { method: 'clip' } }],
  ] satisfies [string, Settings][])('%s changes the key of every expert', async (_what, settings) => {
    const [before, after] = [await keysOf(dataFree), await keysOf({ ...dataFree, ...settings })];
    const same = Object.keys(before).filter((id) => before[id] === after[id]);
    expect(same).toEqual([]);
  });

  test('another model changes every key', async () => {
    const [before, after] = [await keysOf(dataFree, fixture), await keysOf(dataFree, other)];
    expect(Object.values(before).filter((key) => Object.values(after).includes(key))).toEqual([]);
  });

  test('other bytes of the records change all that was calibrated on them', async () => {
    const before = await keysOf({ data: records });
    const changed = join(folder, 'changed.jsonl');
    writeFileSync(changed, '{"text":"2 + 2"}\n');
    const same = join(folder, 'same.jsonl');
    copyFileSync(records, same);
    expect(await keysOf({ data: same })).toEqual(before);
    const after = await keysOf({ data: changed });
    expect(Object.keys(before).filter((id) => before[id] === after[id])).toEqual([]);
  });

  test('fewer records change what is measured on them, also where none are calibrated on', async () => {
    const settings = { ...dataFree, data: records };
    const before = await keysOf(settings);
    const after = await keysOf({ ...settings, calibration: { records: 1 } });
    const same = Object.keys(before).filter((id) => before[id] === after[id]);
    expect(same).not.toContain('clip');
    expect(same).not.toContain('emit');
  });

  test('another tokenizer under the same name changes what records become', async () => {
    const copy = join(mkdtempSync(join(tmpdir(), 'moeq-plan-')), 'model.onnx');
    copyFileSync(small, copy);
    const before = await keysOf({ data: records }, copy);
    const tokenizer = join(import.meta.dirname, '../data/fixtures/tokenizer.json');
    copyFileSync(tokenizer, join(dirname(copy), 'tokenizer.json'));
    const after = await keysOf({ data: records }, copy);
    expect(Object.keys(before).filter((id) => before[id] === after[id])).toEqual([]);
  });

  test('where tokenizer and pool lie changes no key, what is in them does', async () => {
    const tokenizer = join(import.meta.dirname, '../data/fixtures/tokenizer.json');
    const [moved, pool, pool2] = ['vocabulary.json', 'pool.jsonl', 'pool2.jsonl'].map((name) =>
      join(folder, name),
    );
    copyFileSync(tokenizer, moved);
    copyFileSync(records, pool);
    copyFileSync(records, pool2);
    const keys = (words: string, from: string): Promise<Record<string, string>> =>
      keysOf({ data: records, tokenizer: words, calibration: { balance: { pool: from } } });
    const before = await keys(tokenizer, pool);
    expect(await keys(moved, pool2)).toEqual(before);
    writeFileSync(pool2, '{"text":"3 + 3"}\n');
    const after = await keys(moved, pool2);
    expect(after['calibrate']).not.toBe(before['calibrate']);
  });

  test('what is told apart in the report changes verification only', async () => {
    const [before, after] = [
      await keysOf({ data: records }),
      await keysOf({ data: records, verify: { attribution: false } }),
    ];
    expect(Object.keys(before).filter((id) => before[id] !== after[id])).toEqual(['verify']);
  });

  test('other records to verify on change verification only', async () => {
    const [before, after] = [
      await keysOf({ data: records }),
      await keysOf({ data: records, verify: { records: 1 } }),
    ];
    expect(Object.keys(before).filter((id) => before[id] !== after[id])).toEqual(['verify']);
  });
});
