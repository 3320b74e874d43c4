import { Fault } from '../fault.ts';
import type { ChangeEstimate } from './diff/bootstrap.ts';
import type { Pair } from './diff/movements.ts';

/** Per-record sums may be rounded in the file by this much of the figure. */
const tolerance = 1e-4;

/**
 * The outcomes per record must add up to the figures of the reports: a verdict on other numbers than those shown
 * would be worthless.
 * @throws Fault `REPORT_INCONSISTENT`
 */
export function requireConsistent(pairs: readonly Pair[], estimates: readonly ChangeEstimate[]): void {
  for (const { before, after } of pairs) {
    const estimate = estimates.find(
      ({ metric, where }) => metric === before.metric && where === before.where,
    );
    if (!estimate) continue;
    const shown = after.value - before.value;
    const allowed = tolerance * Math.max(1, Math.abs(before.value), Math.abs(after.value));
    if (Math.abs(shown - estimate.change) > allowed) {
      throw new Fault({
        code: 'REPORT_INCONSISTENT',
        what: 'the outcomes per record do not add up to the figures of the reports',
        where: `${before.metric} ${before.where}`.trim(),
        why: `it changes by ${shown}, its records by ${estimate.change}`,
        remedy: 'make both reports again with "moeq verify"',
      });
    }
  }
}
