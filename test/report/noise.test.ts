import { describe, expect, test } from 'vitest';
import { estimateChanges } from '../../src/report/diff/bootstrap.ts';
import { judgeFamilies } from '../../src/report/diff/noise.ts';
import { pairSeries } from '../../src/report/diff/paired-series.ts';
import type { RecordOutcomes } from '../../src/report/report.ts';
import { seededRandom } from './helpers/seeded-random.ts';

const records = 760;
const tasks = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

/** The default limits of a comparison. */
const families = [
  { metric: 'task.mean', sign: -1 as const, limit: 0.01 },
  { metric: 'topKAgreement', sign: -1 as const, limit: 0.01 },
  { metric: 'perplexityRatio', sign: 1 as const, limit: 0.01 },
];

describe('over many evaluations of 760 records', () => {
  test('the same model raises fewer than 5 % false alarms', () => {
    expect(countAlarms(200, 0)).toBeLessThan(10);
  });

  test('a true drop of 3 points is caught in at least 80 %', () => {
    expect(countAlarms(100, 0.03)).toBeGreaterThanOrEqual(80);
  });
});

describe('few changed records', () => {
  test.each([4, 5, 6, 8])('%i losses and no gain are as likely as the sign test says', (losses) => {
    const before = Array.from({ length: 100 }, () => 1);
    const after = before.map((_, i) => (i < losses ? 0 : 1));
    const [judgement] = judgeChange(before, after, 0);
    expect(judgement.p).toBeGreaterThan(0.7 * 0.5 ** losses);
    expect(judgement.p).toBeLessThan(1.5 * 0.5 ** losses + 0.001);
  });

  test('one record alone proves nothing', () => {
    expect(judgeChange([1], [0], 0)[0].failed).toBe(false);
  });
});

test('the interval of a mean difference is the textbook one', () => {
  const random = seededRandom(3);
  const before = Array.from({ length: 400 }, () => random());
  const after = before.map((value) => value + 0.1 + 0.5 * (random() - 0.5));
  const difference = after.map((value, i) => value - before[i]);
  const mean = difference.reduce((a, b) => a + b) / 400;
  const error = Math.sqrt(difference.reduce((total, d) => total + (d - mean) ** 2, 0) / 399 / 400);
  const [{ change, interval, deviation }] = estimateChanges([seriesOf(before, after)]);
  expect(change).toBeCloseTo(mean, 12);
  expect(deviation).toBeCloseTo(error, 2);
  expect(interval[0]).toBeCloseTo(mean - 1.96 * error, 2);
  expect(interval[1]).toBeCloseTo(mean + 1.96 * error, 2);
});

test('the same records give the same estimate', () => {
  const series = seriesOf([1, 0, 1, 1], [1, 1, 0, 1]);
  expect(estimateChanges([series])).toEqual(estimateChanges([series]));
});

test('a limit is a tolerance: a certain change below it passes', () => {
  const before = Array.from({ length: 500 }, () => 1);
  const after = before.map((_, i) => (i < 50 ? 0 : 1));
  expect(judgeChange(before, after, 0.09)[0].failed).toBe(true);
  expect(judgeChange(before, after, 0.11)[0]).toMatchObject({ failed: false, p: 1 });
});

test('looking at more layers asks for more certainty', () => {
  const before = Array.from({ length: 100 }, () => 1);
  const after = before.map((_, i) => (i < 8 ? 0 : 1));
  const random = seededRandom(5);
  const quiet = Array.from({ length: 20 }, () =>
    seriesOf(
      before.map(() => random()),
      before.map(() => random()),
    ),
  );
  const [alone] = judgeFamilies([
    { sign: -1, limit: 0, estimates: estimateChanges([seriesOf(before, after)]) },
  ]);
  const estimates = estimateChanges([seriesOf(before, after), ...quiet]);
  const [among] = judgeFamilies([{ sign: -1, limit: 0, estimates }]);
  expect(among.p).toBeGreaterThan(alone.p);
});

function judgeChange(before: number[], after: number[], limit: number): ReturnType<typeof judgeFamilies> {
  return judgeFamilies([{ sign: -1, limit, estimates: estimateChanges([seriesOf(before, after)]) }]);
}

function seriesOf(before: number[], after: number[]): ReturnType<typeof pairSeries>[number] {
  return {
    metric: 'm',
    where: '',
    before: Float64Array.from(before),
    after: Float64Array.from(after),
    weight: new Float64Array(before.length).fill(1),
    exponential: false,
  };
}

function countAlarms(evaluations: number, drop: number): number {
  let alarms = 0;
  for (let round = 0; round < evaluations; round += 1) {
    const series = pairSeries(evaluate(10 + 2 * round, 0), evaluate(11 + 2 * round, drop));
    const estimates = estimateChanges(
      series.filter(({ metric }) => families.some((family) => family.metric === metric)),
    );
    const judged = judgeFamilies(
      families.map((family) => {
        return { ...family, estimates: estimates.filter(({ metric }) => metric === family.metric) };
      }),
    );
    if (judged.some(({ failed }) => failed)) alarms += 1;
  }
  return alarms;
}

/**
 * One evaluation: 88 % of the records are always solved, 6 % by the toss of a coin, 6 % never; then a share
 * `drop` of all is lost. Perplexity and router agreement vary from record to record and do not drop.
 */
function evaluate(seed: number, drop: number): RecordOutcomes {
  const data = seededRandom(7);
  const random = seededRandom(seed);
  const indices = Array.from({ length: records }, (_, i) => i);
  const tokens = indices.map(() => 10 + Math.floor(data() * 20));
  const solved = indices.map(() => {
    const difficulty = data();
    const chance = difficulty < 0.88 ? 1 : difficulty < 0.94 ? 0.5 : 0;
    return Number(random() < chance * (1 - drop / 0.91));
  });
  return {
    tasks,
    task: indices.map((i) => i % tasks.length),
    exactMatch: { reference: solved, quantized: solved },
    tokens,
    predicted: tokens,
    nll: { reference: tokens, quantized: tokens.map((count) => count * (1 + 0.1 * random())) },
    kl: tokens,
    topKAgreement: [
      { layer: 'L0', local: tokens, cumulative: tokens.map((count) => count * (1 - 0.1 * random())) },
    ],
  };
}
