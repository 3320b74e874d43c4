import { expect, test } from 'vitest';
import type { DataRecord } from '../../src/data/record.ts';
import { OutcomeBook } from '../../src/verify/outcome-book.ts';

test('tasks may have any name', () => {
  const names = ['mean', 'constructor', 'toString', 'a.b'];
  const records = names.map((task): DataRecord => ({ source: task, task, inputs: {}, answerStart: 1 }));
  const { tasks } = new OutcomeBook(records, [], true).summary();
  const score = { records: 1, reference: 1, quantized: 1 };
  expect(Object.entries(tasks)).toEqual(names.map((name) => [name, score]));
});
