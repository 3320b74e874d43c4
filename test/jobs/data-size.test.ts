import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { byteTokenizer } from '../../src/data/tokenizer.ts';
import { dataSize, firstOf } from '../../src/jobs/plan/data-size.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { bundledModel } from '../helpers/bundled.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-size-'));
const model = openModel(bundledModel('loop.dyn'));
const lines = (name: string, records: readonly unknown[]): string => {
  const path = join(folder, name);
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return path;
};

test('records and tokens of a small file are counted', () => {
  const path = lines('small.jsonl', [
    { text: 'four' },
    { prompt: 'one', answer: 'two' },
    { inputs: { input_ids: [[1, 2, 3, 4, 5]] } },
  ]);
  expect(dataSize(path, model, byteTokenizer)).toEqual({ records: 3, tokens: 4 + 6 + 5 });
});

test('a number of a record is one position, and what is no data in a folder is passed over', () => {
  const mixed = mkdtempSync(join(folder, 'mixed-'));
  const record = { inputs: { input_ids: [[1, 2, 3]], scale: [1] } };
  writeFileSync(join(mixed, 'records.jsonl'), JSON.stringify(record));
  writeFileSync(join(mixed, 'README.md'), '# Records');
  expect(dataSize(mixed, model, byteTokenizer)).toEqual({ records: 1, tokens: 3 });
  const scalars = lines('scalars.jsonl', [{ inputs: { scale: [1] } }]);
  expect(dataSize(scalars, model, byteTokenizer)).toEqual({ records: 1, tokens: 1 });
});

test('those of a large file follow from its first lines, in all files of a folder', () => {
  const path = lines(
    'large.jsonl',
    Array.from({ length: 20_000 }, (_, i) => ({ text: 'x'.repeat(10 + (i % 3)) })),
  );
  const { records, tokens } = dataSize(path, model, byteTokenizer);
  expect(Math.abs(records / 20_000 - 1)).toBeLessThan(0.01);
  expect(Math.abs(tokens / 220_000 - 1)).toBeLessThan(0.01);
  const all = dataSize(folder, model, byteTokenizer);
  expect(all.records).toBeGreaterThan(records);
});

test('a record longer than what is looked at counts by its bytes', () => {
  const path = lines('long.jsonl', [{ text: 'y'.repeat(100_000) }]);
  expect(dataSize(path, model, byteTokenizer)).toEqual({ records: 1, tokens: (100_000 + 12) / 4 });
});

test('arrays count by the bytes of a token: one int64 of the bundled model', () => {
  const path = join(folder, 'arrays.npz');
  writeFileSync(path, new Uint8Array(8 * 256));
  expect(dataSize(path, model, byteTokenizer)).toEqual({ records: 2, tokens: 256 });
});

test('records that cannot be used are told', () => {
  const path = lines('bad.jsonl', [{ words: 'none' }]);
  expect(() => dataSize(path, model, byteTokenizer)).toThrow(/DATA_RECORD/);
});

test.each([
  [null, 10, 100],
  [5, 5, 50],
  [20, 10, 100],
])('of ten records a limit of %s leaves %d with %d tokens', (limit, records, tokens) => {
  expect(firstOf({ records: 10, tokens: 100 }, limit)).toEqual({ records, tokens });
});
