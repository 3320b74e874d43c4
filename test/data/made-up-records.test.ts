import { expect, test } from 'vitest';
import { madeUpRecords } from '../../src/data/made-up-records.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { bundledModel } from '../helpers/bundled.ts';
import { makeModel } from '../helpers/make-model.ts';

const size = { records: 3, tokens: 5 };

test('tokens are made up from all over the vocabulary', () => {
  const records = madeUpRecords(openModel(bundledModel('loop.dyn')), { records: 8, tokens: 64 });
  const ids = records.flatMap(({ inputs: { input_ids } }) => [...input_ids.data].map(Number));
  expect(ids).toHaveLength(512);
  expect(Math.min(...ids)).toBeGreaterThanOrEqual(0);
  expect(new Set(ids).size).toBe(128);
});

test('tokens are made up for an embedding that is stored in another type', () => {
  const model = makeModel({ input_ids: ['int64', ['batch', 'sequence']] }, (b, ids) => {
    const table = b.constant(
      'embedding',
      'float16',
      [9, 2],
      Array.from({ length: 18 }, (_, i) => i),
    );
    return { y: b.op('Gather', [b.cast(table, 'float32'), ids]) };
  });
  const [{ inputs }] = madeUpRecords(model, size);
  expect(inputs['input_ids'].shape).toEqual([5]);
  expect(Math.max(...[...inputs['input_ids'].data].map(Number))).toBeLessThan(9);
});

test('numbers are made up for a model that takes numbers alone, of variance 1', () => {
  const model = makeModel(
    { x: ['float32', ['batch', 'sequence', 8]], y: ['float16', ['batch', 3]] },
    (b, x, y) => ({
      z: b.op('Neg', [x]),
      w: b.op('Neg', [y]),
    }),
  );
  const records = madeUpRecords(model, { records: 40, tokens: 32 });
  expect(records.map(({ inputs }) => [inputs['x'].shape, inputs['y'].shape])).toEqual(
    Array.from({ length: 40 }, () => [[32, 8], [3]]),
  );
  const values = records.flatMap(({ inputs }) => [...inputs['x'].data].map(Number));
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const square = values.reduce((sum, value) => sum + value ** 2, 0) / values.length;
  expect(Math.abs(mean)).toBeLessThan(0.05);
  expect(Math.abs(square - 1)).toBeLessThan(0.05);
});

test('nothing is made up for other models', () => {
  const ids = makeModel({ x: ['float32', ['n', 8]], ids: ['int64', ['n']] }, (b, x, ids) => ({
    y: b.op('Add', [x, b.cast(ids, 'float32')]),
  }));
  expect(madeUpRecords(ids, size)).toEqual([]);
  const open = makeModel({ x: ['float32', ['n', 'm', 'k']] }, (b, x) => ({ y: b.op('Neg', [x]) }));
  expect(madeUpRecords(open, size)).toEqual([]);
});
