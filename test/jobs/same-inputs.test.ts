import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { configSchema } from '../../src/config/schema.ts';
import { planJob } from '../../src/jobs/plan/plan-job.ts';
import { inputsCheck } from '../../src/jobs/queue/same-inputs.ts';
import { smallTextModel } from '../helpers/small-text-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-inputs-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('records that were put right are seen to be', async () => {
  const { model } = smallTextModel(folder);
  const data = join(folder, 'data.jsonl');
  const records = '{"text":"1 + 1"}\n';
  writeFileSync(data, records);
  const plan = await planJob({ name: 'a', model, recipe: 'a', config: configSchema.parse({ data }) }, folder);
  const check = inputsCheck();
  writeFileSync(data, '{"text":"2 + 2"}\n');
  await expect(check('key', plan)).rejects.toThrow(/QUEUE_INPUTS/);
  writeFileSync(data, records);
  await check('key', plan);
});
