import { describe, expect, test } from 'vitest';
import { defaultDiffLimits } from '../../src/report/diff/diff-limits.ts';
import { diffReports } from '../../src/report/diff/diff.ts';
import { summarizeDiff } from '../../src/report/diff/summarize-diff.ts';
import type { Report } from '../../src/report/report.ts';
import { parseReport, serializeReport } from '../../src/report/report.ts';
import { buildReport } from './helpers/build-report.ts';

const baseline = buildReport();
const limits = defaultDiffLimits(baseline);

describe('what moved', () => {
  test.each([
    ['equal', baseline, structuredClone(baseline)],
    ['read back', baseline, parseReport(serializeReport(baseline), 'a')],
    ['a task called mean', buildReport({ tasks: ['mean', 'add'] }), buildReport({ tasks: ['mean', 'add'] })],
    ['identical models', buildReport({ error: 0 }), buildReport({ error: 0, seed: 2 })],
    ['without records', buildReport({ complete: false }), buildReport({ complete: false })],
  ])('is nothing in %s reports', (_, a, b) => {
    const same = { ...b, output: { ...b.output, sqnrDb: a.output.sqnrDb } };
    const diff = diffReports(a, same, defaultDiffLimits(a));
    expect(diff.moved).toEqual([]);
    expect(diff.gates).toHaveLength(4);
    expect(diff.gates.every(({ ok, value }) => ok && value === 0)).toBe(true);
    expect(summarizeDiff(diff)).toMatch(/^All 4 gates hold\n[\s\S]*\nNothing moved\n$/);
  });

  test('is every figure that differs, worst first', () => {
    const current = structuredClone(baseline);
    current.layers[1].experts[3].sqnrDb! -= 9;
    current.output.top1Agreement -= 0.02;
    current.layers[0].router.local.mse *= 0.5;
    const { moved } = diffReports(baseline, current, {});
    expect(moved.map(({ metric, where, verdict }) => [metric, where, verdict])).toEqual([
      ['expert.sqnrDb', 'L1 expert 3', 'worse'],
      ['output.top1Agreement', '', 'worse'],
      ['local.mse', 'L0', 'better'],
    ]);
    expect(moved[0].change).toBeCloseTo(-9, 9);
  });

  test('a figure that got lost comes first', () => {
    const current = structuredClone(baseline);
    current.output.kl = Number.NaN;
    current.layers[1].experts[3].sqnrDb! -= 90;
    expect(diffReports(baseline, current, {}).moved[0]).toMatchObject({
      metric: 'output.kl',
      verdict: 'worse',
    });
  });

  test('the interval holds the change', () => {
    const { moved } = diffReports(baseline, buildReport({ seed: 2, error: 1.5 }), {});
    const estimated = moved.filter(({ interval }) => interval);
    expect(estimated.map(({ metric }) => metric)).toEqual(
      expect.arrayContaining([
        'task.add',
        'task.mean',
        'perplexityRatio',
        'output.kl',
        'topKAgreement',
        'local.topKAgreement',
      ]),
    );
    for (const { change, interval } of estimated) {
      expect(interval![0]).toBeLessThan(change);
      expect(interval![1]).toBeGreaterThan(change);
    }
  });
});

describe('limits', () => {
  test('fail for a real drop and name where', () => {
    const worse = buildReport({ seed: 2, error: 3 });
    const { gates } = diffReports(baseline, worse, { ...limits, 'drop.task': 0.02, 'rise.output.kl': 0.01 });
    expect(gates.map(({ name, ok }) => [name, ok])).toEqual([
      ['drop.task.mean', false],
      ['drop.topKAgreement', false],
      ['rise.perplexityRatio', false],
      ['drop.expert.sqnrDb', false],
      ['drop.task', false],
      ['rise.output.kl', false],
    ]);
    expect(gates[1]).toMatchObject({ bound: 'max', where: 'L2', p: expect.any(Number) });
  });

  test('hold in the direction that does no harm', () => {
    const better = buildReport({ seed: 2, error: 0.1 });
    const { gates } = diffReports(buildReport({ error: 3 }), better, limits);
    expect(gates.every(({ ok, value }) => ok && value < 0)).toBe(true);
  });

  test('let a drop within noise pass, saying so', () => {
    const current = structuredClone(baseline);
    const { quantized } = current.records!.exactMatch;
    const task = current.records!.tasks.indexOf('rom');
    const flipped = quantized
      .flatMap((value, i) => (current.records!.task[i] === task && value === 1 ? [i] : []))
      .slice(0, 3);
    for (const i of flipped) quantized[i] = 0;
    current.tasks.rom.quantized -= 3 / current.tasks.rom.records;
    const { gates } = diffReports(baseline, current, { 'drop.task': 0.02, 'drop.task.rom': 0.02 });
    expect(gates).toMatchObject([
      {
        ok: true,
        where: 'task.rom',
        value: expect.closeTo(3 / 95, 9),
        why: expect.stringContaining('within noise'),
      },
      { ok: true, where: 'task.rom' },
    ]);
  });

  test('without records count every change, saying so', () => {
    const before = buildReport({ complete: false });
    const current = structuredClone(before);
    current.tasks.rom.quantized -= 0.03;
    const diff = diffReports(before, current, { 'drop.task': 0.02, 'drop.task.add': 0.02 });
    expect(diff.gates.map(({ ok }) => ok)).toEqual([false, true]);
    expect(diff.gates[0]).toMatchObject({ where: 'task.rom', value: expect.closeTo(0.03, 9) });
    expect(diff.notes).toEqual([expect.stringContaining('noise is not estimated')]);
  });

  test('on metrics without records compare plainly', () => {
    const current = structuredClone(baseline);
    current.layers[2].experts[5].sqnrDb! -= 4;
    const { gates } = diffReports(baseline, current, {
      'drop.expert.sqnrDb': 3,
      'rise.size.quantizedBytes': 0,
    });
    expect(gates).toMatchObject([
      { ok: false, where: 'L2 expert 5', value: expect.closeTo(4, 9) },
      { ok: true, value: 0 },
    ]);
  });

  test.each([
    ['perplexity', 'rise.perplexityRatio', (report: Report) => (report.output.perplexity = null)],
    ['an expert', 'drop.expert.sqnrDb', (report: Report) => (report.layers[0].experts[0].sqnrDb = null)],
    ['the divergence', 'rise.output.kl', (report: Report) => (report.output.kl = Number.NaN)],
  ])('fail when %s is missing from one report', (_, key, lose) => {
    const current = structuredClone(baseline);
    lose(current);
    expect(diffReports(baseline, current, { [key]: 1e9 }).gates).toMatchObject([
      { ok: false, value: Number.NaN, why: 'not measured in both reports' },
    ]);
    expect(diffReports(current, baseline, { [key]: 1e9 }).gates[0].ok).toBe(false);
  });

  test.each(['topKAgreement', 'drop.nothing', 'drop.task.nope', 'fall.task'])('refuse the key %s', (key) => {
    expect(() => diffReports(baseline, baseline, { [key]: 0.1 })).toThrow(/GATE_UNKNOWN[\s\S]*topKAgreement/);
  });

  test('refuse to be negative', () => {
    expect(() => diffReports(baseline, baseline, { 'drop.task': -1 })).toThrow(/GATE_SYNTAX/);
  });
});

describe('reports of other data or models are refused', () => {
  test.each([
    ['DIFF_DATA', (report: Report) => (report.data.records += 1)],
    ['DIFF_DATA', (report: Report) => (report.data.sha256 = 'dd44')],
    ['DIFF_DATA', (report: Report) => (report.tasks = {})],
    ['DIFF_DATA', (report: Report) => (report.records!.tokens = report.records!.tokens.toReversed())],
    ['DIFF_MODEL', (report: Report) => report.layers.pop()],
  ])('%s: %s', (code, change) => {
    const current = structuredClone(baseline);
    change(current);
    expect(() => diffReports(baseline, current, {})).toThrow(code);
  });
});

test('records that do not add up to the figures are refused', () => {
  const current = structuredClone(baseline);
  current.layers[1].router.local.topKAgreement -= 0.1;
  expect(() => diffReports(baseline, current, {})).toThrow(
    /REPORT_INCONSISTENT[\s\S]*local\.topKAgreement L1/,
  );
});

test('tasks without answers take no part', () => {
  const unanswered = structuredClone(baseline);
  const { tasks, task, exactMatch } = unanswered.records!;
  delete unanswered.tasks.rom;
  for (const side of ['reference', 'quantized'] as const) {
    exactMatch[side] = exactMatch[side].map((value, i) => (tasks[task[i]!] === 'rom' ? Number.NaN : value));
  }
  const current = structuredClone(unanswered);
  current.layers[0].experts[0].sqnrDb! -= 1;
  const { gates, moved } = diffReports(unanswered, current, { 'drop.task': 0, 'drop.task.mean': 0 });
  expect(moved).toHaveLength(1);
  expect(gates.map(({ ok, value, p }) => [ok, Math.abs(value), p])).toEqual([
    [true, 0, 1],
    [true, 0, 1],
  ]);
});

test('another reference model is noted', () => {
  const current = structuredClone(baseline);
  current.reference.sha256 = 'ee55';
  expect(diffReports(baseline, current, {}).notes).toEqual([
    expect.stringContaining('different reference models'),
  ]);
});

test('the terminal text fits 100 columns', () => {
  const large = { layers: 48, experts: 32, records: 300 };
  const text = summarizeDiff(
    diffReports(buildReport(large), buildReport({ ...large, seed: 2, error: 2 }), limits),
  );
  expect(text).toMatch(/^\d of 4 gates failed\n {2}FAILED {2}drop/);
  expect(text.split('\n').filter((line) => line.length > 100)).toEqual([]);
});
