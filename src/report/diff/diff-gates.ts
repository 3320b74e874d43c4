import { formatFigure } from '../format.ts';
import type { Gate } from '../report.ts';
import type { ChangeEstimate } from './bootstrap.ts';
import type { DiffLimit } from './diff-limits.ts';
import type { Pair } from './movements.ts';
import { type Judgement, judgeFamilies } from './noise.ts';

/** A limit on a change. `p` is the chance of such a change between equally good models, where noise was estimated. */
export type DiffGate = Gate & { p?: number; interval?: [number, number] };

/**
 * A limit on metrics with outcomes per record fails when the change exceeds the limit and is certain beyond noise
 * (see `judgeFamilies`); any other limit when the change exceeds it. A metric missing from either report fails.
 */
export function evaluateDiffGates(
  limits: DiffLimit[],
  pairs: Pair[],
  estimates: ChangeEstimate[],
): DiffGate[] {
  const covered = limits.map((limit) => ({
    limit,
    pairs: pairs.filter(({ before }) => limit.covers(before.metric)),
    estimates: estimates.filter(({ metric }) => limit.covers(metric)),
  }));
  const plain = covered.map(({ limit, pairs: mine }) => plainGate(limit, mine));
  const noisy = covered.flatMap((one, i) => {
    const estimated =
      one.estimates.length > 0 && one.estimates.every(({ change }) => Number.isFinite(change));
    return estimated && !Number.isNaN(plain[i].value) ? [{ ...one, i }] : [];
  });
  const judgements = judgeFamilies(
    noisy.map(({ limit, estimates: mine }) => ({ ...limit, estimates: mine })),
  );
  const judged = new Map(noisy.map(({ limit, i }, k) => [i, noiseGate(limit, judgements[k])]));
  return plain.map((gate, i) => judged.get(i) ?? gate);
}

function plainGate({ name, limit, sign }: DiffLimit, pairs: Pair[]): DiffGate {
  let worst = { where: '', harm: pairs.length === 0 ? Number.NaN : Number.NEGATIVE_INFINITY };
  for (const { before, after } of pairs) {
    const equal = Object.is(before.value, after.value) && !Number.isNaN(before.value);
    const harm = equal ? 0 : sign * (after.value - before.value);
    if (harm > worst.harm || Number.isNaN(harm))
      worst = { where: placeOf(before.metric, before.where), harm };
    if (Number.isNaN(harm)) break;
  }
  const { where, harm } = worst;
  const why = Number.isNaN(harm) ? 'not measured in both reports' : '';
  return { name, limit, value: harm, ok: harm <= limit, bound: 'max', where, ...(why && { why }) };
}

function noiseGate({ name, limit, sign }: DiffLimit, judgement: Judgement): DiffGate {
  const { estimate, p, failed } = judgement;
  const { metric, where, interval } = estimate;
  const [low, high] = sign === 1 ? interval : [-interval[1], -interval[0]];
  const value = sign * estimate.change;
  const span = `95 % interval ${formatFigure(low)} to ${formatFigure(high)}`;
  const why = value > limit && !failed ? `beyond the limit but within noise: ${span}` : span;
  return {
    name,
    limit,
    value,
    ok: !failed,
    bound: 'max',
    where: placeOf(metric, where),
    why,
    p,
    interval: [low, high],
  };
}

/** Names the task of a task metric, as the limit may cover several. */
function placeOf(metric: string, where: string): string {
  return metric.startsWith('task.') ? metric : where;
}
