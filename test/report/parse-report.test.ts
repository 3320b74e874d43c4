import { expect, test } from 'vitest';
import { identicalDb } from '../../src/report/format.ts';
import { parseReport, serializeReport } from '../../src/report/report.ts';
import { reportJsonSchema } from '../../src/report/schema.ts';
import { buildReport } from './helpers/build-report.ts';

test('a report survives the file', () => {
  const report = buildReport();
  expect(parseReport(serializeReport(report), 'report.json')).toEqual(report);
});

test('a report without the optional parts survives too', () => {
  const report = buildReport({ complete: false });
  expect(parseReport(serializeReport(report), 'report.json')).toEqual(report);
});

test('what could not be measured stays unmeasured, and identical stays perfect', () => {
  const report = buildReport({ error: 0, tasks: [] });
  const broken = { ...report, output: { ...report.output, kl: Number.NaN } };
  const read = parseReport(serializeReport(broken), 'report.json');
  expect(read.output).toMatchObject({ kl: Number.NaN, sqnrDb: identicalDb });
  expect(read.layers[0].experts[0].sqnrDb).toBe(identicalDb);
  expect(read.records!.exactMatch.quantized[0]).toBeNaN();
});

test.each([
  ['{"a": 1', /REPORT_INVALID: the report is not JSON[\s\S]*base\.json/],
  ['[]', /REPORT_INVALID: the file is not a moeq report/],
  ['{"reference": {"path": 3}}', /where: base\.json[\s\S]*reference\.path/],
])('refuses %s', (text, message) => {
  expect(() => parseReport(text, 'base.json')).toThrow(message);
});

test('the JSON schema names the public keys', () => {
  expect(reportJsonSchema()).toMatchObject({
    type: 'object',
    properties: {
      output: { properties: { kl: { type: ['number', 'null'] } } },
      records: {},
      calibration: {},
    },
    required: 'reference quantized data output tasks layers census size execution gates'.split(' '),
  });
});
