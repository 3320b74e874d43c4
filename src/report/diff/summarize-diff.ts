import { formatAmount, formatCount } from '../format.ts';
import { gateLines } from '../gates/gate-lines.ts';
import { type Column, type Paint, numeric, plainPaint, terminalTable } from '../terminal-table.ts';
import { hangingText } from '../wrap-text.ts';
import type { ReportDiff } from './diff.ts';
import { movementCells } from './movements.ts';

const width = 100;
const movesShown = 30;

/** A comparison for the terminal: verdict, limits, then what moved, worst first, in at most 100 columns. */
export function summarizeDiff(diff: ReportDiff, paint: Paint = plainPaint): string {
  const { gates, notes, moved, baseline, current, data } = diff;
  const lines = [
    ...gateLines(gates, width, paint),
    ...notes.flatMap((note) => hangingText('  note    ', note, width)),
    '',
    ...hangingText('baseline   ', baseline.path, width),
    ...hangingText('current    ', current.path, width),
    `data       ${formatAmount(data.records, 'record')}, ${formatAmount(data.tokens, 'token')}`,
    '',
    ...(moved.length === 0 ? ['Nothing moved'] : movedLines(moved, paint)),
  ];
  return `${lines.join('\n')}\n`;
}

function movedLines(moved: ReportDiff['moved'], paint: Paint): string[] {
  const columns: Column[] = [
    { title: '', tone: (text) => (text === 'worse' ? 'bad' : 'good') },
    { title: 'metric' },
    { title: 'where' },
    ...numeric('baseline', 'current', 'change', '95 % interval'),
  ];
  const rows = moved.slice(0, movesShown).map(movementCells);
  const more = moved.length - rows.length;
  return [
    paint('strong', `${formatAmount(moved.length, 'figure')} moved, worst first`),
    ...terminalTable(columns, rows, paint, width),
    ...(more > 0 ? [`and ${formatCount(more)} more; --json lists all`] : []),
  ];
}
