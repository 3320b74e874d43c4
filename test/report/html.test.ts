import { describe, expect, test } from 'vitest';
import { evaluateGates } from '../../src/report/gates/gates.ts';
import { reportHtml } from '../../src/report/html.ts';
import type { Report } from '../../src/report/report.ts';
import { buildReport } from './helpers/build-report.ts';

const page = reportHtml(withBadExpert());
const large = reportHtml(buildReport({ layers: 48, experts: 128, topK: 8, tokens: 60_000, records: 300 }));

test('the verdict and the culprit stand before everything else', () => {
  const text = textOf(page);
  expect(text).toMatch(/2 of 4 gates failed, worst in L2, L1 expert 3/);
  expect(text).toMatch(/Look here first\s+L1 expert 3: far from the reference \(SQNR 4\.2 dB/);
  expect(text.indexOf('gates failed')).toBeLessThan(300);
  expect(text.indexOf('Look here first')).toBeLessThan(text.indexOf('perplexityRatio'));
});

test.each([
  'Summary',
  'Accuracy',
  'Router agreement',
  'Expert accuracy',
  'Tokens per expert',
  'Outlier channels',
  'Sizes and census',
  'Recipe',
])('has the section %s, linked from the top', (title) => {
  const [, id] = new RegExp(`<a href="#([a-z]+)">${title}</a>`).exec(page)!;
  expect(page).toContain(`<section id="${id}">\n<h2>${title}</h2>`);
});

test('every figure of a chart stands in a table too', () => {
  const report = withBadExpert();
  const text = textOf(page);
  for (const { experts, router } of report.layers) {
    expect(text).toContain(router.local.topKAgreement.toFixed(4));
    expect(text).toContain(router.cumulative.topKAgreement.toFixed(4));
    for (const { sqnrDb } of experts) expect(text).toContain(sqnrDb === null ? '–' : sqnrDb.toFixed(1));
  }
  expect(
    page.match(/<svg class="wide" role="img"[^>]*>\s*<title>[^<]+<\/title><desc>[^<]+<\/desc>/g),
  ).toHaveLength(2);
  expect(page.match(/<table><caption>/g)?.length).toBe(page.match(/<table/g)?.length);
});

test('the heat maps draw every expert once', () => {
  const cells = [...large.matchAll(/<path class="(?:h\d|unseen|starved|c\d)" d="([^"]+)"/g)].map(
    ([, d]) => d.split('M').length - 1,
  );
  const legends = [...large.matchAll(/<path class="[a-z0-9]+" d="M1 1h12v12h-12z"/g)].length;
  expect(cells.reduce((a, b) => a + b) - legends).toBe(2 * 48 * 128);
});

describe('the file', () => {
  test('needs no network and no script', () => {
    expect(page).not.toMatch(/<script|<link|<iframe|@import|url\(|src=|https?:/i);
  });

  test('stays small with 48 layers of 128 experts', () => {
    expect(large.length).toBeLessThan(2_000_000);
  });

  test('is the same for the same report', () => {
    expect(reportHtml(withBadExpert())).toBe(page);
  });

  test('has balanced tags and unique ids', () => {
    expect(unbalanced(page)).toEqual([]);
    expect(unbalanced(large)).toEqual([]);
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

test('names from the model are text, never markup', () => {
  const report = withBadExpert();
  const evil = '"><img src=x onerror=alert(1)>';
  report.quantized.path = evil;
  report.layers[0].id = evil;
  report.tasks = { [evil]: report.tasks.add };
  report.census[0].refused = [{ tensor: evil, reason: evil }];
  report.recipe = { [evil]: evil };
  const text = reportHtml(report);
  expect(text).not.toContain('<img');
  expect(text).toContain('&quot;&gt;&lt;img src=x onerror=alert(1)&gt;');
});

test.each([
  ['nothing optional', buildReport({ complete: false, tasks: [] })],
  ['no MoE layer', { ...buildReport({ complete: false }), layers: [], census: [] }],
  ['one layer', buildReport({ layers: 1 })],
  ['identical models', buildReport({ error: 0 })],
  ['nothing measured', unmeasured()],
])('copes with %s', (_, report) => {
  const text = reportHtml(report);
  expect(text).not.toMatch(/[^A-Za-z](NaN|undefined|Infinity)[^A-Za-z]/);
  expect(unbalanced(text)).toEqual([]);
});

test('identical models are not painted as bad', () => {
  const text = reportHtml(buildReport({ error: 0 }));
  expect(/<path class="h5" d="(M\d\d[^"]*)"/.exec(text)![1].split('M')).toHaveLength(1 + 48 - 1);
  expect(text).toContain('From identical to identical, identical at the median.');
});

function withBadExpert(): Report {
  const report = buildReport();
  report.layers[1].experts[3].sqnrDb = 4.2;
  const min = { topKAgreement: 0.96, 'task.mean': 0.8, 'expert.sqnrDb': 10 };
  return { ...report, gates: evaluateGates(report, { min, max: { perplexityRatio: 1.05 } }) };
}

function unmeasured(): Report {
  const report = buildReport();
  for (const layer of report.layers) {
    layer.router.cumulative.topKAgreement = Number.NaN;
    layer.router.local.topKAgreement = Number.NaN;
    layer.experts = layer.experts.map((expert) => ({ ...expert, tokens: 0, sqnrDb: null }));
  }
  const channels = { top: [{ channel: 1, before: Number.NaN, after: 1 }], median: { before: 0, after: 0 } };
  report.calibration!.layers[0].channels = channels;
  const output = { sqnrDb: Number.NaN, kl: Number.NaN, top1Agreement: Number.NaN, perplexity: null };
  return { ...report, output, size: { ...report.size, expertBitsPerWeight: null } };
}

function textOf(html: string): string {
  return html
    .replace(/<style>[\s\S]*?<\/style>/, '')
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(' :', ':');
}

/** Tags that are closed wrongly or not at all. */
function unbalanced(html: string): string[] {
  const open: string[] = [];
  const wrong: string[] = [];
  for (const [, slash, name, , self] of html.matchAll(/<(\/?)([a-z][a-z0-9]*)((?:"[^"]*"|[^">])*?)(\/?)>/g)) {
    if (self || ['meta', 'br'].includes(name)) continue;
    if (!slash) open.push(name);
    else if (open.pop() !== name) wrong.push(name);
  }
  return [...wrong, ...open];
}
