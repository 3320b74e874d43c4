import { expect, test } from 'vitest';
import {
  addToken,
  decisionOf,
  emptySums,
  meansOf,
  referenceDecisionOf,
} from '../../src/verify/router-metrics.ts';
import type { TokenRouting } from '../../src/verify/router-values.ts';

function softmax(values: readonly number[]): number[] {
  const exps = values.map((value) => Math.exp(value));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((value) => value / sum);
}

/** Softmax over all experts, then the k largest: one token per row of logits. */
function route(rows: number[][], k: number): TokenRouting {
  const chosen = rows.map((row) =>
    softmax(row)
      .map((weight, expert) => ({ weight, expert }))
      .toSorted((a, b) => b.weight - a.weight)
      .slice(0, k),
  );
  return {
    tokens: rows.length,
    experts: rows[0].length,
    k,
    logits: Float32Array.from(rows.flat()),
    indices: Int32Array.from(chosen.flat(), ({ expert }) => expert),
    weights: Float32Array.from(chosen.flat(), ({ weight }) => weight),
  };
}

function metrics(reference: TokenRouting, quantized: TokenRouting): ReturnType<typeof meansOf> {
  const sums = emptySums();
  for (let token = 0; token < reference.tokens; token++)
    addToken(sums, referenceDecisionOf(reference, token), decisionOf(quantized, token));
  return meansOf(sums);
}

test('a router agrees with itself in everything', () => {
  const routing = route(
    [
      [3, 1, 2, 0],
      [0, 0.5, 4, 1],
    ],
    2,
  );
  expect(metrics(routing, routing)).toEqual({
    mse: 0,
    kl: 0,
    topKKl: 0,
    topKAgreement: 1,
    exactSet: 1,
    top1Agreement: 1,
    weightL1: 0,
    marginFlipRate: 0,
  });
});

test('figures equal those worked out by hand for two tokens', () => {
  const a = [
    [3, 2, 1, 0],
    [2, 1, 0, -1],
  ];
  const b = [
    [3, 1, 2, 0],
    [2, 1, 0, -1],
  ];
  const result = metrics(route(a, 2), route(b, 2));
  const p = softmax(a[0]);
  const q = softmax(b[0]);
  const kl = p.reduce((sum, each, i) => sum + each * Math.log(each / q[i]), 0);
  expect(result.mse).toBeCloseTo(2 / 4 / 2, 7);
  expect(result.kl).toBeCloseTo(kl / 2, 6);
  expect(result.topKAgreement).toBeCloseTo((1 / 2 + 1) / 2, 7);
  expect(result.exactSet).toBe(0.5);
  expect(result.top1Agreement).toBe(1);
  expect(result.weightL1).toBeCloseTo((p[1] + q[2]) / 2, 6);
  // Token 0: root-mean-square error sqrt(1/2) exceeds half of the margin 2 - 1.
  expect(result.marginFlipRate).toBe(0.5);
});

test('without a top-k every expert takes part and weights are compared one by one', () => {
  const dense = (rows: number[][]): TokenRouting => ({
    tokens: rows.length,
    experts: 3,
    k: 3,
    logits: Float32Array.from(rows.flat()),
    indices: null,
    weights: Float32Array.from(rows.flatMap(softmax)),
  });
  const [a, b] = [
    [1, 2, 3],
    [1, 3, 2],
  ];
  const result = metrics(dense([a]), dense([b]));
  const expected = softmax(a).reduce((sum, weight, i) => sum + Math.abs(weight - softmax(b)[i]), 0);
  expect(result.topKAgreement).toBe(1);
  expect(result.top1Agreement).toBe(0);
  expect(result.weightL1).toBeCloseTo(expected, 6);
  expect(result.marginFlipRate).toBe(0);
});

test.each([
  ['a NaN in the logits', [Number.NaN, 2, 1, 0], [0.5, 0.5]],
  ['an infinite logit', [Infinity, 2, 1, 0], [0.5, 0.5]],
  ['a NaN for a weight', [3, 2, 1, 0], [Number.NaN, 0.5]],
])('%s agrees with nothing, with itself neither', (_, logits, weights) => {
  const sound = route([[3, 2, 1, 0]], 2);
  const lost = { ...sound, logits: Float32Array.from(logits), weights: Float32Array.from(weights) };
  const worst = { topKAgreement: 0, exactSet: 0, top1Agreement: 0, marginFlipRate: 1 };
  expect(metrics(sound, lost)).toMatchObject(worst);
  expect(metrics(lost, sound)).toMatchObject(worst);
  expect(metrics(lost, lost)).toMatchObject(worst);
});

test('experts masked by minus infinity are no reason to doubt a choice', () => {
  const masked = route([[3, 2, -Infinity, -Infinity]], 2);
  expect(metrics(masked, masked)).toMatchObject({ topKAgreement: 1, exactSet: 1, top1Agreement: 1 });
});

test('no token gives no figure', () => {
  expect(meansOf(emptySums()).kl).toBeNaN();
});
