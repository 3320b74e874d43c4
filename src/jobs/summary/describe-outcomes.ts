import { formatBytes, formatFigure, formatShare } from '../../report/format.ts';
import { gateText } from '../../report/gates/gate-text.ts';
import type { Column, Paint } from '../../report/terminal-table.ts';
import { numeric, plainPaint, terminalTable } from '../../report/terminal-table.ts';
import type { JobOutcome } from './job-outcome.ts';

/** Outcomes for the terminal: one line per job, failed gates and faults below. */
export function describeOutcomes(outcomes: readonly JobOutcome[], paint: Paint = plainPaint): string {
  const columns: Column[] = [
    { title: 'job' },
    { title: 'status', tone: (text) => statusTones[text] },
    ...numeric('model', 'result', 'bits', 'top-k agreement', 'perplexity ratio', 'seconds'),
  ];
  const rows = outcomes.map((outcome) => [
    outcome.name,
    outcome.reused ? `${statusText(outcome)} before` : statusText(outcome),
    ...rowOf(outcome).slice(2),
    outcome.seconds.toFixed(1),
  ]);
  const failures = outcomes.flatMap(({ name, gates, fault }) => [
    ...gates.filter(({ ok }) => !ok).map((gate) => `${name}: ${gateText(gate)}`),
    ...(fault ? [`${name}: ${fault.code}: ${fault.what}`] : []),
  ]);
  return [
    ...terminalTable(columns, rows, paint),
    ...failures.map((line) => paint('bad', line)),
    verdict(outcomes),
  ].join('\n');
}

/** `2 done, 1 missed a gate`. */
export function verdict(outcomes: readonly JobOutcome[]): string {
  const phrases: [JobOutcome['status'], string][] = [
    ['done', 'done'],
    ['gates', 'missed a gate'],
    ['failed', 'failed'],
    ['skipped', 'not begun'],
  ];
  const counts = phrases.map(([status, phrase]) => {
    const count = outcomes.filter((outcome) => outcome.status === status).length;
    return count === 0 ? [] : [`${count} ${phrase}`];
  });
  return counts.flat().join(', ');
}

const statusTones: Record<string, 'good' | 'bad' | 'dim'> = {
  done: 'good',
  'done before': 'good',
  'gate failed': 'bad',
  failed: 'bad',
  'not begun': 'dim',
};

/** The cells of a job in a table of outcomes, the same in any run: no times. */
export function rowOf(outcome: JobOutcome): string[] {
  const { name, size, expertBitsPerWeight, figures } = outcome;
  return [
    name,
    statusText(outcome),
    size ? formatBytes(size.before) : '',
    size ? formatBytes(size.after) : '',
    expertBitsPerWeight === null ? '' : expertBitsPerWeight.toFixed(2),
    figures ? formatShare(figures.topKAgreement) : '',
    figures ? formatFigure(figures.perplexityRatio) : '',
  ];
}

function statusText({ status }: JobOutcome): string {
  if (status === 'gates') return 'gate failed';
  return status === 'skipped' ? 'not begun' : status;
}
