import { type Markup, markup } from './markup.ts';
import { shortLabel } from './short-label.ts';
import { scrollRegion } from './table.ts';

export interface HeatMap {
  title: string;
  /** What the map shows, for readers who do not see it. */
  description: string;
  rows: {
    label: string;
    /** One class of `legend` per cell, or null for an empty place. */
    cells: (string | null)[];
  }[];
  /** What the classes mean; those without a cell are left out. */
  legend: { class: string; label: string }[];
}

const labelWidth = 56;
const axisHeight = 16;

/**
 * Layers down, experts across. All cells of one colour are one path, so that 48 layers of 128 experts stay small;
 * the figures themselves belong in a table beside the map.
 */
export function heatMap({ title, description, rows, legend: all }: HeatMap): Markup {
  const present = new Set(rows.flatMap(({ cells }) => cells));
  const legend = all.filter(({ class: name }) => present.has(name));
  const columns = Math.max(...rows.map(({ cells }) => cells.length));
  const cell = Math.round(Math.min(26, Math.max(7, 640 / columns)));
  const width = labelWidth + columns * cell;
  const height = axisHeight + rows.length * cell;
  const paths = legend.map(
    ({ class: name }) => markup`<path class="${name}" d="${cellPath(rows, name, cell)}"/>\n`,
  );
  const svg = markup`<svg role="img" aria-label="${title}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<title>${title}</title><desc>${description}</desc>
${rowLabels(rows, cell)}${columnLabels(columns, cell)}
${paths}</svg>`;
  return markup`${scrollRegion(title, svg)}${heatLegend(legend)}`;
}

function heatLegend(legend: HeatMap['legend']): Markup {
  const items = legend.map(
    ({ class: name, label }) =>
      markup`<li><svg width="14" height="14" aria-hidden="true"><path class="${name}" d="M1 1h12v12h-12z"/></svg> ${label}</li>`,
  );
  return markup`<ul class="legend">${items}</ul>\n`;
}

function cellPath(rows: HeatMap['rows'], name: string, cell: number): string {
  const size = cell - 1;
  return rows
    .flatMap(({ cells }, y) =>
      cells.map((kind, x) =>
        kind === name ? `M${labelWidth + x * cell} ${axisHeight + y * cell}h${size}v${size}h-${size}z` : '',
      ),
    )
    .join('');
}

/** Names of layers, thinned out where rows are lower than text. */
function rowLabels(rows: HeatMap['rows'], cell: number): Markup[] {
  const every = Math.ceil(12 / cell);
  return rows.flatMap(({ label }, y) => {
    if (y % every !== 0) return [];
    return [
      markup`<text x="${labelWidth - 6}" y="${axisHeight + (y + 0.5) * cell}" class="e">${shortLabel(label)}</text>`,
    ];
  });
}

function columnLabels(columns: number, cell: number): Markup[] {
  const every = columns <= 16 ? 1 : columns <= 32 ? 4 : 8;
  const positions = Array.from({ length: Math.ceil(columns / every) }, (_, i) => i * every);
  return positions.map((x) => markup`<text x="${labelWidth + (x + 0.5) * cell}" y="8" class="m">${x}</text>`);
}
