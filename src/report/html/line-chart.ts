import { type Markup, markup } from './markup.ts';

export interface LineChart {
  title: string;
  description: string;
  /** Names along the x axis. */
  labels: string[];
  /** At most two lines; `a` is drawn broken with circles, `b` solid with squares. */
  lines: { class: 'a' | 'b'; label: string; values: number[] }[];
}

const height = 230;
const top = 10;
const bottom = 200;
const left = 12;
const right = 97;

/**
 * Shares by layer. Positions across are percentages, so the chart takes any width while its text keeps its size.
 * The y axis runs from the next tenth below the data to 1.
 */
export function lineChart({ title, description, labels, lines }: LineChart): Markup {
  const values = lines.flatMap((line) => line.values).filter((value) => !Number.isNaN(value));
  const low = Math.min(0.9, Math.floor(Math.min(...values) * 10) / 10);
  const x = (i: number) =>
    round(labels.length === 1 ? 50 : left + ((right - left) * i) / (labels.length - 1));
  const y = (value: number) => round(bottom - ((bottom - top) * (value - low)) / (1 - low));
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (1 - low));
  return markup`<svg class="wide" role="img" aria-label="${title}" width="100%" height="${height}">
<title>${title}</title><desc>${description}</desc>
${grid.map((value) => gridLine(value, y(value)))}
${xLabels(labels, x)}
${lines.map(({ class: name, values: points }) => drawLine(name, points, x, y))}
</svg>
<ul class="legend">${lines.map(({ class: name, label }) => legendItem(name, label))}</ul>
`;
}

function gridLine(value: number, y: number): Markup {
  return markup`<line class="grid" x1="${left}%" x2="${right}%" y1="${y}" y2="${y}"/><text x="${left - 2}%" y="${y}" class="e">${Number(value.toFixed(3))}</text>`;
}

/** At most seven names, shortened to their end: there the numbers are. */
function xLabels(labels: string[], x: (i: number) => number): Markup[] {
  const every = Math.ceil(labels.length / 7);
  return labels.flatMap((label, i) => {
    const short = label.length > 6 ? `…${label.slice(-4)}` : label;
    return i % every === 0 ? [markup`<text x="${x(i)}%" y="${bottom + 18}" class="m">${short}</text>`] : [];
  });
}

function drawLine(
  name: 'a' | 'b',
  values: number[],
  x: (i: number) => number,
  y: (value: number) => number,
): Markup[] {
  return values.flatMap((value, i) => {
    if (Number.isNaN(value)) return [];
    const next = values[i + 1];
    const hasNext = next !== undefined && !Number.isNaN(next);
    const segment = markup`<line class="${name}" x1="${x(i)}%" x2="${x(i + 1)}%" y1="${y(value)}" y2="${hasNext ? y(next) : 0}"/>`;
    return [...(hasNext ? [segment] : []), marker(name, `${x(i)}%`, y(value))];
  });
}

function marker(name: 'a' | 'b', x: string, y: number): Markup {
  if (name === 'a') return markup`<circle class="a" cx="${x}" cy="${y}" r="3.5"/>\n`;
  return markup`<rect class="b" x="${x}" y="${y - 3.5}" width="7" height="7" transform="translate(-3.5)"/>\n`;
}

function legendItem(name: 'a' | 'b', label: string): Markup {
  const line = markup`<line class="${name}" x1="0" x2="28" y1="7" y2="7"/>`;
  return markup`<li><svg width="28" height="14" aria-hidden="true">${line}${marker(name, '14', 7)}</svg> ${label}</li>`;
}

function round(value: number): number {
  return Number(value.toFixed(2));
}
