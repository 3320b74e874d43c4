import type { ReportDiff } from './diff/diff.ts';
import { movementCells } from './diff/movements.ts';
import { attributionRows, taskRows } from './figure-rows.ts';
import { formatAmount, formatBytes, formatChange, formatDecibels, formatFigure } from './format.ts';
import { verdictText } from './gates/gate-text.ts';
import { findOutliers } from './outliers.ts';
import type { Gate, Report } from './report.ts';

const movesShown = 20;

/** A comparison as a pull-request comment: verdict, limits, and what moved folded away. */
export function markdownDiff(diff: ReportDiff): string {
  const { gates, moved, notes, baseline, current, data } = diff;
  return join([
    headline(gates),
    `${code(current.path)} against the baseline ${code(baseline.path)}, ${dataText(data)}.`,
    gateTable(gates),
    ...notes.map((note) => `> ${escapeCell(note)}`),
    moved.length === 0 ? 'Nothing moved.' : movedTable(moved),
  ]);
}

/** A report as a pull-request comment: verdict, culprits, causes, tasks and size. */
export function markdownReport(report: Report): string {
  const { gates, quantized, reference, data, size, output, tasks, attribution, notes = [] } = report;
  const bits =
    size.expertBitsPerWeight === null
      ? ''
      : `, experts ${formatFigure(size.expertBitsPerWeight)} bits a weight`;
  return join([
    headline(gates),
    `${code(quantized.path)} against ${code(reference.path)}, ${dataText(data)}: ` +
      `${formatBytes(size.referenceBytes)} to ${formatBytes(size.quantizedBytes)}${bits}; ` +
      `output SQNR ${formatDecibels(output.sqnrDb)}, KL ${formatFigure(output.kl)}.`,
    gateTable(gates),
    outlierList(report),
    attribution ? attributionTable(attribution) : '',
    ...notes.map((note) => `> ${escapeCell(note)}`),
    taskTable(tasks),
  ]);
}

function headline(gates: readonly Gate[]): string {
  const failed = gates.some(({ ok }) => !ok);
  return `### moeq: ${failed ? '❌ ' : gates.length > 0 ? '✅ ' : ''}${verdictText({ gates })}`;
}

function dataText({ records, tokens }: Report['data']): string {
  return `${formatAmount(records, 'record')}, ${formatAmount(tokens, 'token')}`;
}

function gateTable(gates: readonly Gate[]): string {
  if (gates.length === 0) return '';
  const rows = gates.map(({ name, value, limit, ok, bound, where, why }) => [
    ok ? '✅' : '❌ failed',
    name,
    formatFigure(value),
    `${bound === 'max' ? '≤' : '≥'} ${formatFigure(limit)}`,
    where ?? '',
    why ?? '',
  ]);
  return table(['', 'gate', 'value', 'limit', 'where', 'remark'], rows);
}

function outlierList(report: Report): string {
  const outliers = findOutliers(report).slice(0, 5);
  return outliers.map(({ place, finding }) => `- **${escapeCell(place)}**: ${finding}`).join('\n');
}

function attributionTable(attribution: NonNullable<Report['attribution']>): string {
  const { titles, rows } = attributionRows(attribution);
  return table(titles, rows);
}

function taskTable(tasks: Report['tasks']): string {
  const { titles, rows } = taskRows(tasks, formatChange);
  return rows.length === 0 ? '' : table(titles, rows);
}

function movedTable(moved: ReportDiff['moved']): string {
  const rows = moved.slice(0, movesShown).map(movementCells);
  const more = moved.length > rows.length ? `, the worst ${rows.length} shown` : '';
  const titles = ['', 'metric', 'where', 'baseline', 'current', 'change', '95 % interval'];
  const summary = `<summary>${formatAmount(moved.length, 'figure')} moved${more}</summary>`;
  return `<details>${summary}\n\n${table(titles, rows)}\n\n</details>`;
}

function table(titles: string[], rows: string[][]): string {
  return [titles, titles.map(() => '---'), ...rows].map(tableLine).join('\n');
}

function tableLine(cells: string[]): string {
  return `| ${cells.map(escapeCell).join(' | ')} |`;
}

function code(text: string): string {
  return `<code>${escapeCell(text)}</code>`;
}

/** Names come from files: nothing in them may end a cell or start markup, a link or a mention. */
function escapeCell(text: string): string {
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('@', '&#64;')
    .replaceAll(/[\\`*_[\]|~]/g, String.raw`\$&`);
}

function join(parts: string[]): string {
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}
