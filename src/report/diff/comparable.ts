import { Fault } from '../../fault.ts';
import type { RecordOutcomes, Report } from '../report.ts';

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
