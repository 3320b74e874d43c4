import type { ChangeEstimate } from './bootstrap.ts';

/** One limited metric with what was found for each of its layers or tasks. */
export interface Family {
  /** 1 when a rise is the harm, -1 when a drop is. */
  sign: 1 | -1;
  limit: number;
  estimates: ChangeEstimate[];
}

export interface Judgement {
  /** The one to show: the most harmful of those beyond the limit whose own interval excludes 0, if any. */
  estimate: ChangeEstimate;
  /** Chance of a change this certain anywhere in the family if nothing had changed; 1 when none is beyond the limit. */
  p: number;
  /** Beyond the limit, and beyond noise. */
  failed: boolean;
}

/** Chance that a comparison of two equally good models fails any gate whose limit is 0; less beyond that. */
const falseAlarmRate = 0.05;

/**
 * Tells harm from noise. A family fails when a change is beyond its limit and zero lies outside the bootstrap
 * interval, widened for everything that was looked at: within a family by the distribution of the largest
 * studentised change (Westfall & Young 1993, single-step max-T), across families by Holm (1979).
 */
export function judgeFamilies(families: readonly Family[]): Judgement[] {
  const judged = families.map(judgeFamily);
  const order = judged.map((_, i) => i).toSorted((a, b) => judged[a].p - judged[b].p);
  let rejecting = true;
  for (const [rank, index] of order.entries()) {
    rejecting &&= judged[index].p <= falseAlarmRate / (families.length - rank);
    judged[index].failed = rejecting;
  }
  return judged;
}

function judgeFamily({ sign, limit, estimates }: Family): Judgement {
  const beyond = estimates.filter(({ change }) => sign * change > limit);
  if (beyond.length === 0) {
    return { estimate: mostHarmful(sign, estimates), p: 1, failed: false };
  }
  const certainty = ({ change, deviation }: ChangeEstimate) => (sign * change) / deviation;
  const surest = beyond.reduce((best, other) => (certainty(other) > certainty(best) ? other : best));
  const certain = beyond.filter(({ interval }) => (sign === 1 ? interval[0] > 0 : interval[1] < 0));
  const estimate = certain.length > 0 ? mostHarmful(sign, certain) : surest;
  return { estimate, p: chanceOfCertainty(sign, certainty(surest), estimates), failed: false };
}

function mostHarmful(sign: 1 | -1, estimates: ChangeEstimate[]): ChangeEstimate {
  return estimates.reduce((worst, other) => (sign * other.change > sign * worst.change ? other : worst));
}

function chanceOfCertainty(sign: 1 | -1, certainty: number, estimates: ChangeEstimate[]): number {
  const varying = estimates.filter(({ deviation }) => deviation > 0);
  const replicates = estimates[0].replicates.length;
  let exceeding = 0;
  for (let b = 0; b < replicates; b += 1) {
    const exceeds = varying.some(
      ({ change, replicates: values, deviation }) => (sign * (change - values[b])) / deviation >= certainty,
    );
    if (exceeds) exceeding += 1;
  }
  return (exceeding + 1) / (replicates + 1);
}
