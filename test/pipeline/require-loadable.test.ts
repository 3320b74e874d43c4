import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { writeModel } from '../../src/onnx/write-model.ts';
import { requireLoadable } from '../../src/pipeline/require-loadable.ts';
import { makeModel } from '../helpers/make-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-loadable-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A model of one operator, of ONNX or of nobody. */
function modelOf(opType: string): string {
  const path = join(folder, `${opType}.onnx`);
  writeModel(
    makeModel({ x: ['float32', ['n']] }, (b, x) => ({ y: b.op(opType, [x]) })),
    path,
    { force: true },
  );
  return path;
}

test('what loads needs no word', async () => {
  await expect(requireLoadable(modelOf('Neg'), modelOf('Abs'), {})).resolves.toEqual([]);
});

test('what does not load beside a source that does is not published', async () => {
  await expect(requireLoadable(modelOf('NoSuchThing'), modelOf('Abs'), {})).rejects.toMatchObject({
    code: 'PARITY',
    why: expect.stringContaining('NoSuchThing'),
  });
});

test('what does not load as its source does not is told of', async () => {
  const [note, ...more] = await requireLoadable(modelOf('NoSuchThing'), modelOf('NoMore'), {});
  expect(note).toMatch(/^ONNX Runtime loads neither the model nor what was written of it: .*NoSuchThing/);
  expect(more).toEqual([]);
});
