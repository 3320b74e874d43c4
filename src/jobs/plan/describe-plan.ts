import { formatBytes, formatCount } from '../../report/format.ts';
import type { Paint } from '../../report/terminal-table.ts';
import { numeric, plainPaint, terminalTable } from '../../report/terminal-table.ts';
import { isPlanned } from './plan-batch.ts';
import type { BatchPlan, JobPlan, UnplannedJob } from './plan.ts';

/** A plan for the terminal: one line per job, then what it takes in all. */
export function describePlan(plan: BatchPlan, paint: Paint = plainPaint): string {
  const { jobs, output, concurrency, threads, memory } = plan;
  const planned = jobs.filter(isPlanned);
  const columns = [
    { title: 'job' },
    { title: 'steps' },
    ...numeric('model', 'result', 'memory', 'core time'),
  ];
  const rows = planned.map((job) => [
    job.name,
    stepsOf(job),
    formatBytes(job.size.before),
    formatBytes(job.size.after),
    formatBytes(job.memory),
    formatSeconds(job.seconds),
  ]);
  const seconds = planned.reduce((sum, job) => sum + job.seconds, 0);
  return [
    `${jobs.length} jobs into ${output}, ${concurrency} at a time on ${threads} threads and ${formatBytes(memory)}`,
    ...terminalTable(columns, rows, paint),
    `about ${formatSeconds(seconds)} of one core in all; sizes and times are estimates`,
    ...jobs.filter((job) => !isPlanned(job)).map((job) => paint('bad', refusal(job as UnplannedJob))),
  ].join('\n');
}

function stepsOf({ items, experts }: JobPlan): string {
  const kinds = new Set(items.map(({ kind }) => kind));
  const quantize = `quantize ${formatCount(experts)} experts`;
  return [...kinds].map((kind) => (kind === 'quantize' ? quantize : kind)).join(', ');
}

function refusal({ name, fault: { code, what, where } }: UnplannedJob): string {
  return `${name}: ${code}: ${what}${where ? ` (${where})` : ''}`;
}

function formatSeconds(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
