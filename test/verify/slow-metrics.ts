import type { Report, RouterMetrics } from '../../src/report/report.ts';

/** Numbers with their dimensions, in float64. */
export interface Tensor {
  dims: readonly number[];
  data: readonly number[];
}

/** One router's decisions: what is chosen by each token, with its weights, and the logits of all experts. */
export interface SlowRouting {
  logits: number[][];
  chosen: { expert: number; weight: number }[][];
}

/** Reads routing tensors of any form. `form` is that of a model's record. */
export function slowRouting(
  experts: number,
  form: string,
  logits: Tensor,
  weights: Tensor,
  indices: Tensor | null,
): SlowRouting {
  const tokens = logits.data.length / experts;
  const all = Array.from({ length: experts }, (_, expert) => expert);
  const weightOf = (token: number, expert: number): number => {
    if (form === 'dense-first') return weights.data[expert * tokens + token];
    if (form === 'dense-last') return weights.data[token * experts + expert];
    const slots = weights.data.length / tokens / experts;
    let sum = 0;
    for (let slot = 0; slot < slots; slot++) sum += weights.data[(token * experts + expert) * slots + slot];
    return sum;
  };
  const chosenBy = (token: number): SlowRouting['chosen'][number] => {
    if (indices === null)
      return all
        .map((expert) => ({ expert, weight: weightOf(token, expert) }))
        .filter(({ weight }) => weight !== 0);
    const k = indices.data.length / tokens;
    return row(indices.data, token, k).map((expert, i) => ({ expert, weight: weights.data[token * k + i] }));
  };
  const each = Array.from({ length: tokens }, (_, token) => token);
  return { logits: each.map((token) => row(logits.data, token, experts)), chosen: each.map(chosenBy) };
}

/** Every router metric, by its definition. */
export function slowRouterMetrics(reference: SlowRouting, quantized: SlowRouting): RouterMetrics {
  const tokens = reference.logits.map((r, t) => {
    const q = quantized.logits[t];
    const [a, b] = [weightsByExpert(reference, t), weightsByExpert(quantized, t)];
    const [setA, setB] = [a, b].map((weights) =>
      weights.flatMap((weight, e) => (weight === null ? [] : [e])),
    );
    const both = setA.filter((expert) => setB.includes(expert));
    const mse = mean(r.map((value, e) => (value - q[e]) ** 2));
    const sorted = r.toSorted((x, y) => y - x);
    const margin = sorted[setA.length - 1] - sorted[setA.length];
    const some = (logits: number[]): number[] => setA.map((expert) => logits[expert]);
    return {
      mse,
      kl: divergence(r, q),
      topKKl: divergence(some(r), some(q)),
      topKAgreement: setA.length === 0 ? Number(setB.length === 0) : both.length / setA.length,
      exactSet: Number(setA.join() === setB.join()),
      top1Agreement: Number(heaviest(a) === heaviest(b)),
      weightL1: a.reduce<number>((sum, weight, e) => sum + Math.abs((weight ?? 0) - (b[e] ?? 0)), 0),
      marginFlipRate: Number(setA.length > 0 && setA.length < r.length && Math.sqrt(mse) > margin / 2),
    };
  });
  const names = Object.keys(tokens[0]) as (keyof (typeof tokens)[0])[];
  return Object.fromEntries(
    names.map((name) => [name, mean(tokens.map((token) => token[name]))]),
  ) as unknown as RouterMetrics;
}

/** Tokens, kept shares and SQNR of each expert, from its tokens' results in both models, pair by pair. */
export function slowExperts(
  columns: readonly number[],
  routings: { reference: SlowRouting; local: SlowRouting; cumulative: SlowRouting },
  pairs: { experts: readonly number[]; reference: Tensor; quantized: Tensor },
): Pick<Report['layers'][number]['experts'][number], 'tokens' | 'sqnrDb' | 'kept'>[] {
  const has = ({ chosen }: SlowRouting, token: number, column: number): boolean =>
    chosen[token].some(({ expert }) => expert === column);
  return columns.map((column, position) => {
    const tokens = routings.reference.chosen.flatMap((_, t) =>
      has(routings.reference, t, column) ? [t] : [],
    );
    const kept = (other: SlowRouting): number =>
      tokens.filter((token) => has(other, token, column)).length / tokens.length;
    const own = pairs.experts.flatMap((expert, pair) => (expert === position ? [pair] : []));
    return {
      tokens: tokens.length,
      sqnrDb:
        tokens.length === 0 ? null : decibels(rowsOf(pairs.reference, own), rowsOf(pairs.quantized, own)),
      kept: { local: kept(routings.local), cumulative: kept(routings.cumulative) },
    };
  });
}

/** SQNR, divergence and top-1 agreement of outputs [..., classes], over all positions. */
export function slowOutput(
  reference: Tensor,
  quantized: Tensor,
): { sqnrDb: number; kl: number; top1Agreement: number } {
  const classes = reference.dims.at(-1)!;
  const all = Array.from({ length: reference.data.length / classes }, (_, i) => i);
  const [r, q] = [reference, quantized].map(({ data }) => all.map((i) => row(data, i, classes)));
  return {
    sqnrDb: decibels(reference.data, quantized.data),
    kl: mean(all.map((i) => divergence(r[i], q[i]))),
    top1Agreement: mean(all.map((i) => Number(top(r[i]) === top(q[i])))),
  };
}

/** Sum of -log softmax of the next token, over one record's logits [tokens, classes]. */
export function slowLikelihood(logits: Tensor, ids: readonly number[]): number {
  const classes = logits.dims.at(-1)!;
  let sum = 0;
  for (let t = 0; t + 1 < ids.length; t++) sum -= logSoftmax(row(logits.data, t, classes))[ids[t + 1]];
  return sum;
}

function weightsByExpert({ logits, chosen }: SlowRouting, token: number): (number | null)[] {
  const weights: (number | null)[] = logits[token].map(() => null);
  for (const { expert, weight } of chosen[token]) weights[expert] = (weights[expert] ?? 0) + weight;
  return weights;
}

function heaviest(weights: (number | null)[]): number {
  return weights.reduce<number>(
    (best, weight, e) => (weight !== null && (best < 0 || weight > weights[best]!) ? e : best),
    -1,
  );
}

function divergence(p: readonly number[], q: readonly number[]): number {
  const [logP, logQ] = [logSoftmax(p), logSoftmax(q)];
  return logP.reduce((sum, value, i) => sum + Math.exp(value) * (value - logQ[i]), 0);
}

function logSoftmax(values: readonly number[]): number[] {
  const most = Math.max(...values);
  const log = most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
  return values.map((value) => value - log);
}

function decibels(reference: readonly number[], quantized: readonly number[]): number {
  let [power, error] = [0, 0];
  reference.forEach((value, i) => {
    power += value ** 2;
    error += (value - quantized[i]) ** 2;
  });
  return error === 0 ? 200 : 10 * Math.log10(power / error);
}

function rowsOf({ dims, data }: Tensor, rows: readonly number[]): number[] {
  return rows.flatMap((index) => row(data, index, dims[1]));
}

function row(data: readonly number[], index: number, width: number): number[] {
  return data.slice(index * width, (index + 1) * width);
}

function top(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
