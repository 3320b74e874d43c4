import { expect, test } from 'vitest';
import { inPairs, sampleRecords } from '../../src/data/sample-records.ts';
import { bundledRecords, calibrationData } from '../helpers/bundled.ts';

test('the first records are taken, and the first tokens of them', () => {
  const records = bundledRecords(calibrationData, 10);
  const sample = sampleRecords(records, { records: 3, tokens: 5 });
  expect(sample).toHaveLength(3);
  sample.forEach(({ inputs: { input_ids } }, at) => {
    expect(input_ids.shape).toEqual([5]);
    expect(input_ids.data).toEqual(records[at].inputs['input_ids'].data.slice(0, 5));
  });
});

test('two records at a time have one length', () => {
  const pairs = inPairs(bundledRecords(calibrationData, 5));
  const lengths = pairs.map((pair) => pair.map(({ inputs }) => inputs['input_ids'].data.length));
  expect(lengths).toHaveLength(3);
  for (const [first, second] of lengths) expect(second).toBe(first);
  expect(pairs[2][1]).toEqual(pairs[2][0]);
});
