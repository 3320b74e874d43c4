import { expect, test } from 'vitest';
import { reportHtml } from '../../src/report/html.ts';
import { markdownReport } from '../../src/report/markdown.ts';
import { summarize } from '../../src/report/summarize.ts';
import { buildReport } from './helpers/build-report.ts';

const report = buildReport();
report.attribution = {
  routing: { kl: 0.0125, perplexity: 3.5, sqnrDb: 21.4 },
  experts: { kl: 0.25, perplexity: 4.25, sqnrDb: 9.8 },
  both: { kl: 0.5, perplexity: 5.5, sqnrDb: 7.2 },
};
const texts = { terminal: summarize(report), Markdown: markdownReport(report), HTML: reportHtml(report) };

test.each(Object.entries(texts))('%s says what each cause costs', (_, text) => {
  for (const cells of [
    ['changed routing alone', '0.0125', '3.5', '21.4 dB'],
    ['quantized experts alone', '0.25', '4.25', '9.8 dB'],
    ['both, as measured', '0.5', '5.5', '7.2 dB'],
  ]) {
    const between = String.raw`(?: +| \| |<\/th><td class="n">|<\/td><td class="n">)`;
    expect(text).toMatch(new RegExp(cells.map((cell) => cell.replace('.', String.raw`\.`)).join(between)));
  }
});

test.each([
  ['terminal', summarize],
  ['Markdown', markdownReport],
  ['HTML', reportHtml],
] as const)('%s says what was not measured, and why', (_, render) => {
  const { attribution: _measured, ...rest } = report;
  const text = render({ ...rest, notes: ['Causes are not told apart: it was not asked for.'] });
  expect(text).toContain('Causes are not told apart: it was not asked for.');
  expect(text).not.toContain('changed routing alone');
});
