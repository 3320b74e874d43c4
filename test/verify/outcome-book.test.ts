import { expect, test } from 'vitest';
import type { Batch } from '../../src/data/batches.ts';
import { makeBatches } from '../../src/data/batches.ts';
import type { DataRecord } from '../../src/data/record.ts';
import type { Report } from '../../src/report/report.ts';
import type { RunTensor } from '../../src/runtime/session.ts';
import type { JoinedOutput } from '../../src/verify/join-models.ts';
import { OutcomeBook } from '../../src/verify/outcome-book.ts';

/** Prompts of one token with an answer of one. */
const [prompt, answer] = [3, 7];
const recordOf = (task: string): DataRecord => ({
  source: task,
  task,
  inputs: { input_ids: { dtype: 'int32', shape: [2], data: Int32Array.of(prompt, answer) } },
  answerStart: 1,
});

/** Outputs of which only the arg-maxes matter. */
const output = Object.fromEntries(
  ['reference', 'quantized'].map((side) => [
    side,
    Object.fromEntries(
      ['power', 'error', 'kl', 'top', 'nll'].map((key) => [key, { name: `${side}/${key}` }]),
    ),
  ]),
) as unknown as JoinedOutput;

function tasksOf(
  names: readonly string[],
  isLanguage: boolean,
  told: Record<string, number>,
): Report['tasks'] {
  return bookOf(names, isLanguage, told).summary().tasks;
}

function bookOf(names: readonly string[], isLanguage: boolean, told: Record<string, number>): OutcomeBook {
  const records = names.map(recordOf);
  const inputs = [{ name: 'input_ids', dtype: 'int64', shape: [null, null] }];
  const book = new OutcomeBook(records, [], isLanguage);
  for (const batch of makeBatches(records, inputs)) book.addOutputs(batch, output, resultsOf(batch, told));
  return book;
}

function resultsOf({ batch }: Batch, told: Record<string, number>): Record<string, RunTensor> {
  const filled = (value: number): RunTensor => ({
    dtype: 'float32',
    dims: [batch, 2],
    data: new Float32Array(2 * batch).fill(value),
  });
  return Object.fromEntries(
    ['reference', 'quantized'].flatMap((side) =>
      ['power', 'error', 'kl', 'top', 'nll'].map((key) => [
        `${side}/${key}`,
        filled(key === 'top' ? told[side] : 1),
      ]),
    ),
  );
}

test('tasks may have any name', () => {
  const names = ['mean', 'constructor', 'toString', 'a.b'];
  const score = { records: 1, reference: 1, quantized: 0 };
  const tasks = tasksOf(names, true, { reference: answer, quantized: answer + 1 });
  expect(Object.entries(tasks)).toEqual(names.map((name) => [name, score]));
});

test('positions without a largest class agree with none, and are counted', () => {
  const book = bookOf(['add'], true, { reference: -1, quantized: -1 });
  expect(book.summary().output.top1Agreement).toBe(0);
  expect(book.notFinite).toEqual({ reference: 2, quantized: 2 });
});

test('where no answer can be judged there is no score', () => {
  expect(tasksOf(['add'], false, { reference: answer, quantized: answer })).toEqual({});
});
