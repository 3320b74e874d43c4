import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { judgeReport } from '../../src/pipeline/write-report.ts';
import { parseReport } from '../../src/report/report.ts';
import { buildReport } from '../report/helpers/build-report.ts';

test('a report is written with its gates, and without them where one names nothing it holds', () => {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-judge-'));
  const file = join(folder, 'report.json');
  const gatesWritten = (): string[] =>
    parseReport(readFileSync(file, 'utf8'), file).gates.map(({ name }) => name);
  judgeReport(buildReport(), { min: { topKAgreement: 0 }, max: {} }, folder);
  expect(gatesWritten()).toEqual(['topKAgreement']);
  const misspelt = { min: { 'layers.L99.router.local.mse': 0 }, max: {} };
  expect(() => judgeReport(buildReport(), misspelt, folder)).toThrow(/GATE_UNKNOWN/);
  expect(gatesWritten()).toEqual([]);
  rmSync(folder, { recursive: true });
});
