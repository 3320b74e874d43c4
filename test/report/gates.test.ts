import { describe, expect, test } from 'vitest';
import { evaluateGates } from '../../src/report/gates/gates.ts';
import { parseLimits } from '../../src/report/gates/limits.ts';
import { listMeasurements } from '../../src/report/measurements.ts';
import { buildReport } from './helpers/build-report.ts';

const report = buildReport();
const min = (limits: Record<string, number>, of = report) => evaluateGates(of, { min: limits, max: {} });
const max = (limits: Record<string, number>, of = report) => evaluateGates(of, { min: {}, max: limits });

/** Nothing in it is a number but what is counted. */
const lost = JSON.parse(JSON.stringify(report), (key, value: unknown) =>
  typeof value === 'number' && key !== 'tokens' ? Number.NaN : value,
) as typeof report;
const measured = new Set(listMeasurements(report).map(({ metric }) => metric));

describe('per-layer metrics', () => {
  test('count by the worst layer, cumulative unless local is asked for', () => {
    const cumulative = report.layers.map(({ router }) => router.cumulative.topKAgreement);
    const local = report.layers.map(({ router }) => router.local.topKAgreement);
    const worst = Math.min(...cumulative);
    expect(min({ topKAgreement: 0.9, 'local.topKAgreement': 0.9, 'cumulative.topKAgreement': 0.9 })).toEqual([
      { name: 'topKAgreement', limit: 0.9, value: worst, ok: true, bound: 'min', where: 'L2' },
      expect.objectContaining({ value: Math.min(...local), ok: true }),
      expect.objectContaining({ value: worst, where: 'L2' }),
    ]);
  });

  test('take the highest layer of an error', () => {
    const worst = Math.max(...report.layers.map(({ router }) => router.cumulative.mse));
    expect(max({ mse: worst })).toMatchObject([{ value: worst, ok: true }]);
    expect(max({ mse: worst * 0.999 })).toMatchObject([{ value: worst, ok: false, where: 'L2' }]);
  });

  test('name the worst expert and leave out the unseen, saying so', () => {
    const experts = report.layers.flatMap(({ id, experts: all }) =>
      all.map((expert) => ({ layer: id, ...expert })),
    );
    const seen = experts.filter(({ sqnrDb }) => sqnrDb !== null).toSorted((a, b) => a.sqnrDb! - b.sqnrDb!);
    const [gate] = min({ 'expert.sqnrDb': 10 });
    expect(gate).toMatchObject({
      value: seen[0].sqnrDb,
      ok: true,
      where: `${seen[0].layer} expert ${seen[0].id}`,
    });
    expect(gate.why).toBe('experts without a token are not judged: 1');
  });
});

describe('task and model metrics', () => {
  test('cover one task, the worst and the mean', () => {
    const scores = Object.values(report.tasks).map(({ quantized }) => quantized);
    const [one, worst, mean] = min({ 'task.add': 0.5, 'task.*': 0.5, 'task.mean': 0.5 });
    expect(one.value).toBe(report.tasks.add.quantized);
    expect(worst.value).toBe(Math.min(...scores));
    expect(report.tasks[worst.where!].quantized).toBe(worst.value);
    expect(mean.value).toBeCloseTo(scores.reduce((a, b) => a + b) / scores.length, 12);
  });

  test('give the perplexity as a ratio', () => {
    const { reference, quantized } = report.output.perplexity!;
    expect(max({ perplexityRatio: 1.05 })).toMatchObject([{ value: quantized / reference, ok: true }]);
  });
});

describe('dotted paths', () => {
  test.each([
    ['size.quantizedBytes', 1_104_220],
    ['census.router.keptBytes', 24_576],
    ['census.refused', 1],
    ['execution.executed', 1],
    ['layers.L1.router.local.mse', report.layers[1].router.local.mse],
  ])('%s', (key, value) => {
    expect(min({ [key]: value })).toMatchObject([{ value, ok: true }]);
    expect(min({ [key]: value * 1.001 })).toMatchObject([{ value, ok: false }]);
  });

  test('hold names with dots in them', () => {
    const [layer, ...others] = report.layers;
    const experts = layer.experts.map((expert) => ({ ...expert, id: `L0.E${expert.id}` }));
    const tasks = { 'add.long': report.tasks['add'] };
    const dotted = { ...report, tasks, layers: [{ ...layer, experts }, ...others] };
    const keys = { 'layers.L0.experts.L0.E1.sqnrDb': 0, 'tasks.add.long.quantized': 0 };
    expect(min(keys, dotted)).toMatchObject([
      { value: experts[1].sqnrDb, where: 'L0 L0.E1' },
      { value: report.tasks['add'].quantized },
    ]);
  });

  test('through lists take every element', () => {
    expect(min({ 'layers.experts.tokens': 1 })).toMatchObject([{ value: 0, ok: false, where: 'L1 15' }]);
  });
});

describe('never silently passes', () => {
  test.each([
    [
      'a missing perplexity',
      { ...report, output: { ...report.output, perplexity: null } },
      'perplexityRatio',
    ],
    ['NaN', { ...report, output: { ...report.output, kl: Number.NaN } }, 'output.kl'],
    ['a model without layers', { ...report, layers: [] }, 'topKAgreement'],
    ['a report without tasks', { ...report, tasks: {} }, 'task.mean'],
    ['one layer of several', withBrokenLayer(), 'exactSet'],
    [
      'a null leaf',
      { ...report, size: { ...report.size, expertBitsPerWeight: null } },
      'size.expertBitsPerWeight',
    ],
  ])('%s', (_, broken, key) => {
    expect(min({ [key]: 0 }, broken)).toMatchObject([{ value: Number.NaN, ok: false, why: 'not measured' }]);
    expect(max({ [key]: 1e9 }, broken)).toMatchObject([
      { value: Number.NaN, ok: false, why: 'not measured' },
    ]);
  });

  test.each([...measured].filter((name) => name !== 'census.refused'))('%s of nothing but NaN', (key) => {
    expect(min({ [key]: -1e9 }, lost)).toMatchObject([{ ok: false, why: 'not measured' }]);
    expect(max({ [key]: 1e9 }, lost)).toMatchObject([{ ok: false, why: 'not measured' }]);
  });

  test('a perplexity beyond all bounds that another is held against', () => {
    const perplexity = { reference: Infinity, quantized: 2 };
    const broken = { ...report, output: { ...report.output, perplexity } };
    expect(max({ perplexityRatio: 1.05 }, broken)).toMatchObject([{ ok: false, why: 'not measured' }]);
  });

  test.each([
    'topkAgreement',
    'task.nope',
    'layers.L9.router.local.mse',
    'reference.path',
    'output',
    'tasks.add',
  ])('refuses the unknown key %s', (key) => {
    expect(() => min({ [key]: 0 })).toThrow(/GATE_UNKNOWN[\s\S]*known are topKAgreement.*task\.add/);
  });
});

describe('limits', () => {
  test('are read from pairs', () => {
    expect(parseLimits(['topKAgreement=0.9', ' output.kl = 1e-3 ', 'topKAgreement=0.90'])).toEqual({
      topKAgreement: 0.9,
      'output.kl': 0.001,
    });
  });

  test.each(['topKAgreement', '=1', 'a=', 'a=high', 'a=NaN', 'a=Infinity'])('refuse %s', (pair) => {
    expect(() => parseLimits([pair])).toThrow(/GATE_SYNTAX/);
  });

  test('refuse a key with two values', () => {
    expect(() => parseLimits(['a=1', 'a=2'])).toThrow(/a is 1 already/);
  });
});

function withBrokenLayer(): typeof report {
  const [first, second, ...rest] = report.layers;
  const cumulative = { ...second.router.cumulative, exactSet: Number.NaN };
  return { ...report, layers: [first, { ...second, router: { ...second.router, cumulative } }, ...rest] };
}
