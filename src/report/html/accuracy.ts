import { attributionRows, taskRows } from '../figure-rows.ts';
import type { Report } from '../report.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { figureColumns, htmlTable } from './table.ts';

/** Tasks before and after, and which cause costs how much. */
export function accuracySection({ tasks, attribution }: Report): Markup {
  return markup`${attribution ? attributionTable(attribution) : nothing}${taskTable(tasks)}`;
}

function taskTable(tasks: Report['tasks']): Markup {
  const { titles, rows } = taskRows(tasks);
  if (rows.length === 0) return markup`<p>The data has no tasks with answers.</p>\n`;
  const bars = Object.values(tasks).map(({ reference, quantized }) => scoreBar(reference, quantized));
  return htmlTable(
    'Exact match by task',
    [...figureColumns(titles), { title: '0 to 1' }],
    rows.map((row, i) => [...row, bars[i]]),
  );
}

/** The quantized score as a bar, the reference as a tick. */
function scoreBar(reference: number, quantized: number): Markup {
  if (Number.isNaN(reference + quantized)) return nothing;
  const tick = `${(100 * reference).toFixed(1)}%`;
  return markup`<svg width="100" height="12" aria-hidden="true"><rect class="track" width="100%" height="12"/><rect class="bar" width="${(100 * quantized).toFixed(1)}%" height="12"/><line class="tick" x1="${tick}" x2="${tick}" y1="0" y2="12"/></svg>`;
}

function attributionTable(attribution: NonNullable<Report['attribution']>): Markup {
  const { titles, rows } = attributionRows(attribution);
  return htmlTable('Where the loss comes from', figureColumns(titles), rows);
}
