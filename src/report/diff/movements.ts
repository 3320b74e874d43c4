import { formatChange, formatFigure } from '../format.ts';
import type { Measurement } from '../measurements.ts';
import type { ChangeEstimate } from './bootstrap.ts';

/** A metric whose value differs between two reports. */
export interface Movement {
  metric: string;
  /** Layer or expert; empty for the whole model. */
  where: string;
  baseline: number;
  current: number;
  change: number;
  verdict: 'worse' | 'better';
  /** Harm in steps a reader would care about (see {@link Measurement.step}); negative for an improvement. */
  severity: number;
  /** 95 % bootstrap interval of the change over records; absent where the reports hold no outcomes per record. */
  interval?: [number, number];
}

/** The same measurement of two reports. */
export interface Pair {
  before: Measurement;
  after: Measurement;
}

/** Changes below this share of the value are rounding. */
const rounding = 1e-9;

/** Pairs the measurements of two reports; what only one of them has is paired with NaN. */
export function pairMeasurements(before: Measurement[], after: Measurement[]): Pair[] {
  const rest = new Map(after.map((measurement) => [keyOf(measurement), measurement]));
  const pairs = before.map((measurement) => {
    const other = rest.get(keyOf(measurement));
    rest.delete(keyOf(measurement));
    return { before: measurement, after: other ?? { ...measurement, value: Number.NaN } };
  });
  return [
    ...pairs,
    ...[...rest.values()].map((only) => ({ before: { ...only, value: Number.NaN }, after: only })),
  ];
}

/** The pairs that differ, worst first, with the interval of their change where one was estimated. */
export function listMovements(pairs: Pair[], estimates: ChangeEstimate[]): Movement[] {
  const intervals = new Map(estimates.map((estimate) => [keyOf(estimate), estimate.interval]));
  const moved = pairs.filter(hasMoved).map(({ before, after }): Movement => {
    const { metric, where } = before;
    const severity = severityOf(before, after);
    const interval = intervals.get(keyOf(before));
    return {
      metric,
      where,
      baseline: before.value,
      current: after.value,
      change: after.value - before.value,
      verdict: severity > 0 ? 'worse' : 'better',
      severity,
      ...(interval && { interval }),
    };
  });
  return moved.toSorted((a, b) => b.severity - a.severity);
}

function hasMoved({ before: { value: a }, after: { value: b } }: Pair): boolean {
  return !Object.is(a, b) && !(Math.abs(a - b) <= rounding * Math.max(Math.abs(a), Math.abs(b)));
}

/** A figure that got lost is the worst of all, one that was not there before the best. */
function severityOf(before: Measurement, after: Measurement): number {
  if (Number.isNaN(after.value)) return Number.MAX_VALUE;
  if (Number.isNaN(before.value)) return -Number.MAX_VALUE;
  const harm = before.better === 'higher' ? before.value - after.value : after.value - before.value;
  const step =
    'absolute' in before.step ? before.step.absolute : before.step.relative * Math.max(before.value, 1e-3);
  return Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, harm / step));
}

function keyOf({ metric, where }: { metric: string; where: string }): string {
  return `${metric}\n${where}`;
}

/** A table row: verdict, metric, place, before, after, change, and the interval the change lies in where it is known. */
export function movementCells({
  verdict,
  metric,
  where,
  baseline,
  current,
  change,
  interval,
}: Movement): string[] {
  return [
    verdict,
    metric,
    where,
    formatFigure(baseline),
    formatFigure(current),
    formatChange(change),
    interval ? `${formatChange(interval[0])} to ${formatChange(interval[1])}` : '',
  ];
}
