import type { Limits } from '../gates/limits.ts';
import { listMeasurements } from '../measurements.ts';
import type { ModelFacts, Report } from '../report.ts';
import { estimateChanges } from './bootstrap.ts';
import { requireComparable, requireConsistent } from './comparable.ts';
import { type DiffGate, evaluateDiffGates } from './diff-gates.ts';
import { readDiffLimits } from './diff-limits.ts';
import { type Movement, listMovements, pairMeasurements } from './movements.ts';
import { pairSeries } from './paired-series.ts';

export interface ReportDiff {
  baseline: ModelFacts;
  current: ModelFacts;
  data: Report['data'];
  /** Worst first; empty for equal reports. */
  moved: Movement[];
  gates: DiffGate[];
  /** What limits the comparison. */
  notes: string[];
}

/**
 * Compares two reports of the same data: what moved, worst first, and whether it stays within limits such as
 * `drop.task` or `rise.output.kl`.
 * @throws Fault `DIFF_DATA`, `DIFF_MODEL`, `REPORT_INCONSISTENT`, `GATE_UNKNOWN`, `GATE_SYNTAX`
 */
export function diffReports(baseline: Report, current: Report, limits: Limits): ReportDiff {
  requireComparable(baseline, current);
  const before = listMeasurements(baseline);
  const pairs = pairMeasurements(before, listMeasurements(current));
  const estimates =
    baseline.records && current.records ? estimateChanges(pairSeries(baseline.records, current.records)) : [];
  requireConsistent(pairs, estimates);
  return {
    baseline: baseline.quantized,
    current: current.quantized,
    data: current.data,
    moved: listMovements(pairs, estimates),
    gates: evaluateDiffGates(readDiffLimits(limits, before), pairs, estimates),
    notes: listNotes(baseline, current),
  };
}

function listNotes(baseline: Report, current: Report): string[] {
  const notes: string[] = [];
  if (!baseline.records || !current.records) {
    notes.push(
      'Without outcomes per record in both reports noise is not estimated: every change counts as it is.',
    );
  }
  const [a, b] = [baseline.reference.sha256, current.reference.sha256];
  if (a && b && a !== b) notes.push('The reports were made against different reference models.');
  return notes;
}
