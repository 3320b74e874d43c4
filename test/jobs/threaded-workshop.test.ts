import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { threadedWorkshop } from '../../src/jobs/threads/threaded-workshop.ts';
import { plainWorkshop } from '../../src/pipeline/workshop.ts';
import { smallTextModel } from '../helpers/small-text-model.ts';
import { damaged, writtenModel } from './written-model.ts';

/** Wide enough for layers whose rounding is worth a thread. */
const { model } = smallTextModel(mkdtempSync(join(tmpdir(), 'moeq-threads-')), 256);

describe('a workshop of two threads', () => {
  const workshop = threadedWorkshop(model, 2);
  let made: Awaited<ReturnType<typeof writtenModel>>;
  beforeAll(async () => {
    made = await writtenModel(model, workshop);
  });
  afterAll(() => workshop.close());

  test('makes the bytes that one thread makes', async () => {
    const { written } = await writtenModel(model, plainWorkshop);
    expect(readFileSync(made.written).equals(readFileSync(written))).toBe(true);
  });

  test('passes every check of what it wrote', async () => {
    expect(made.checks.length).toBe(4);
    await expect(workshop.check(made.written, made.checks)).resolves.toBeUndefined();
  });

  // Checks are done by turns in this thread and in the other.
  test.each([0, 1, 2, 3])('and tells where check %d fails, whichever thread does it', async (i) => {
    const { layer, expected } = made.checks[i];
    const checks = made.checks.map((check, at) => (at === i ? damaged(check) : check));
    await expect(workshop.check(made.written, checks)).rejects.toMatchObject({
      code: 'PARITY',
      where: `layer ${layer.id}, expert ${layer.id}.E3, ${expected.at(-1)!.part}`,
    });
  });
});
