import { Fault } from '../../fault.ts';
import type { Limits } from '../gates/limits.ts';
import { type Measurement, listMeasurements } from '../measurements.ts';
import type { Report } from '../report.ts';

/** What a limit such as `drop.task` looks at. */
export interface DiffLimit {
  /** The key as given. */
  name: string;
  limit: number;
  /** 1 when a rise is the harm, -1 when a drop is. */
  sign: 1 | -1;
  /** True for the metrics it covers. */
  covers: (metric: string) => boolean;
}

/**
 * Limits for a comparison that names none: one pooled figure for accuracy, routing and perplexity each, and the
 * accuracy of the single experts, which the others do not show while an expert is rarely used.
 */
const defaults: [string, string, number][] = [
  ['drop.task.mean', 'task.mean', 0.01],
  ['drop.topKAgreement', 'topKAgreement', 0.01],
  ['rise.perplexityRatio', 'perplexityRatio', 0.01],
  ['drop.expert.sqnrDb', 'expert.sqnrDb', 6],
];

/** The limits `diff` uses when none is given: those of the defaults that the report measures. */
export function defaultDiffLimits(report: Report): Limits {
  const measured = new Set(measuredMetrics(listMeasurements(report)));
  return Object.fromEntries(
    defaults.flatMap(([key, metric, limit]) => (measured.has(metric) ? [[key, limit]] : [])),
  );
}

/**
 * Reads the keys of limits on change: `drop.` or `rise.` and the name of a metric, where `task` (or `task.*`)
 * means every task.
 * @throws Fault `GATE_UNKNOWN` for another key, `GATE_SYNTAX` for a limit below 0.
 */
export function readDiffLimits(limits: Limits, known: readonly Measurement[]): DiffLimit[] {
  const metrics = new Set(known.map(({ metric }) => metric));
  return Object.entries(limits).map(([name, limit]) => {
    const [, direction, metric] = /^(drop|rise)\.(.+)$/.exec(name) ?? [];
    const allTasks = metric === 'task' || metric === 'task.*';
    if (metric === undefined || !(allTasks || metrics.has(metric))) throw unknownKey(name, [...metrics]);
    if (limit < 0)
      throw new Fault({
        code: 'GATE_SYNTAX',
        what: `the limit of ${name} is below 0`,
        remedy: 'give the largest change that is allowed',
      });
    const covers = allTasks
      ? (other: string) => other.startsWith('task.')
      : (other: string) => other === metric;
    return { name, limit, sign: direction === 'rise' ? 1 : -1, covers };
  });
}

function measuredMetrics(measurements: Measurement[]): string[] {
  return measurements.flatMap(({ metric, value }) => (Number.isNaN(value) ? [] : [metric]));
}

function unknownKey(name: string, metrics: string[]): Fault {
  return new Fault({
    code: 'GATE_UNKNOWN',
    what: `"${name}" is no limit on a change`,
    why: `known are drop. or rise. before task, ${metrics.join(', ')}`,
    remedy: 'write it as drop.topKAgreement=0.01 or rise.perplexityRatio=0.01',
  });
}
