import { Fault } from '../../fault.ts';
import type { RecordOutcomes, Report } from '../report.ts';
import type { ChangeEstimate } from './bootstrap.ts';
import type { Pair } from './movements.ts';

/**
 * Refuses to compare reports of different data or of models with other layers.
 * @throws Fault `DIFF_DATA`, `DIFF_MODEL`
 */
export function requireComparable(baseline: Report, current: Report): void {
  const a = baseline.data;
  const b = current.data;
  if (a.records !== b.records || a.tokens !== b.tokens) {
    throw dataFault(`${a.records} records with ${a.tokens} tokens against ${b.records} with ${b.tokens}`);
  }
  if (a.sha256 && b.sha256 && a.sha256 !== b.sha256) throw dataFault('their checksums differ');
  if (namesOf(baseline.tasks) !== namesOf(current.tasks)) throw dataFault('their tasks differ');
  if (baseline.records && current.records) requireSameRecords(baseline.records, current.records);
  if (layersOf(baseline) !== layersOf(current)) {
    throw new Fault({
      code: 'DIFF_MODEL',
      what: 'the reports are of models with different MoE layers',
      why: `${layersOf(baseline) || 'none'} against ${layersOf(current) || 'none'}`,
      remedy: 'compare reports of one model, or renew the baseline',
    });
  }
}

function requireSameRecords(a: RecordOutcomes, b: RecordOutcomes): void {
  if (shapeOf(a) !== shapeOf(b)) throw dataFault('their records differ in task, length or layers');
}

function shapeOf({ tasks, task, tokens, predicted, topKAgreement }: RecordOutcomes): string {
  return JSON.stringify([tasks, task, tokens, predicted, topKAgreement.map(({ layer }) => layer)]);
}

function namesOf(tasks: Report['tasks']): string {
  return Object.keys(tasks).toSorted().join(', ');
}

function layersOf({ layers }: Report): string {
  return layers.map(({ id }) => id).join(', ');
}

function dataFault(why: string): Fault {
  return new Fault({
    code: 'DIFF_DATA',
    what: 'the reports are not of the same data',
    why,
    remedy: 'verify both models on the same records, or renew the baseline',
  });
}

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
