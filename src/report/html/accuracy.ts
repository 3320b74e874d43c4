import { attributionRows } from '../attribution-rows.ts';
import { formatCount, formatShare } from '../format.ts';
import type { Report } from '../report.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { htmlTable, numeric } from './table.ts';

/** Tasks before and after, and which cause costs how much. */
export function accuracySection({ tasks, attribution }: Report): Markup {
  return markup`${attribution ? attributionTable(attribution) : nothing}${taskTable(tasks)}`;
}

function taskTable(tasks: Report['tasks']): Markup {
  const rows = Object.entries(tasks).map(([name, { records, reference, quantized }]) => [
    name,
    formatCount(records),
    formatShare(reference),
    formatShare(quantized),
    (quantized - reference).toFixed(4),
    scoreBar(reference, quantized),
  ]);
  if (rows.length === 0) return markup`<p>The data has no tasks with answers.</p>\n`;
  const columns = [
    { title: 'task' },
    ...numeric('records', 'reference', 'quantized', 'change'),
    { title: '0 to 1' },
  ];
  return htmlTable('Exact match by task', columns, rows);
}

/** The quantized score as a bar, the reference as a tick. */
function scoreBar(reference: number, quantized: number): Markup {
  if (Number.isNaN(reference + quantized)) return nothing;
  const tick = `${(100 * reference).toFixed(1)}%`;
  return markup`<svg width="100" height="12" aria-hidden="true"><rect class="track" width="100%" height="12"/><rect class="bar" width="${(100 * quantized).toFixed(1)}%" height="12"/><line class="tick" x1="${tick}" x2="${tick}" y1="0" y2="12"/></svg>`;
}

function attributionTable(attribution: NonNullable<Report['attribution']>): Markup {
  const {
    titles: [first, ...rest],
    rows,
  } = attributionRows(attribution);
  return htmlTable('Where the loss comes from', [{ title: first }, ...numeric(...rest)], rows);
}
