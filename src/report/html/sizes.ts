import { censusRows } from '../figure-rows.ts';
import { formatCount } from '../format.ts';
import { refusalsByReason } from '../refusals.ts';
import type { CensusRow, Report } from '../report.ts';
import { type Markup, markup } from './markup.ts';
import { figureColumns, htmlTable, numeric } from './table.ts';

const tensorsShown = 5;

/** Bytes by role and what was left alone, with the reason. */
export function sizesSection({ census }: Report): Markup {
  const most = Math.max(1, ...census.map(({ quantizedBytes, keptBytes }) => quantizedBytes + keptBytes));
  const { titles, rows } = censusRows(census);
  const withBars = rows.map((row, i) => [...row, sizeBar(census[i], most)]);
  return markup`${htmlTable('Bytes by role', [...figureColumns(titles), { title: 'share' }], withBars)}
<ul class="legend"><li><svg width="14" height="14" aria-hidden="true"><rect class="bar" width="14" height="14"/></svg> quantized</li><li><svg width="14" height="14" aria-hidden="true"><rect class="kept" width="14" height="14"/></svg> kept as it was</li></ul>
${refusals(census)}`;
}

function sizeBar({ quantizedBytes, keptBytes }: CensusRow, most: number): Markup {
  const [done, kept] = [quantizedBytes, keptBytes].map((bytes) => Number(((100 * bytes) / most).toFixed(1)));
  return markup`<svg width="120" height="12" aria-hidden="true"><rect class="bar" width="${done}%" height="12"/><rect class="kept" x="${done}%" width="${kept}%" height="12"/></svg>`;
}

function refusals(census: Report['census']): Markup {
  const rows = refusalsByReason(census).map(({ role, reason, tensors }) => {
    const more = tensors.length > tensorsShown ? ` and ${tensors.length - tensorsShown} more` : '';
    return [role, formatCount(tensors.length), reason, tensors.slice(0, tensorsShown).join(', ') + more];
  });
  if (rows.length === 0) return markup`<p>Nothing that was to be quantized was refused.</p>\n`;
  const columns = [
    { title: 'role' },
    ...numeric('tensors'),
    { title: 'why it was left alone' },
    { title: 'which' },
  ];
  return htmlTable('Refused tensors', columns, rows);
}
