/** What a colour says; the caller decides how, and leaves text alone without a terminal or with NO_COLOR. */
export type Tone = 'good' | 'bad' | 'dim' | 'strong';
export type Paint = (tone: Tone, text: string) => string;

export const plainPaint: Paint = (_tone, text) => text;

export interface Column {
  title: string;
  /** Numbers stand right, names (the default) left; only names are shortened. */
  align?: 'left' | 'right';
  /** Colour of a cell, from its full text. */
  tone?: (text: string) => Tone | undefined;
}

const gap = '  ';
const narrowest = 8;

/**
 * Lines of an aligned table, the title row first. Where it would be wider than `width` characters the widest
 * column of names gives way, its texts losing their middle.
 */
export function terminalTable(
  columns: Column[],
  rows: string[][],
  paint: Paint = plainPaint,
  width = 100,
): string[] {
  const plain = rows.map((row) => row.map(withoutControls));
  const widths = fitWidths(columns, plain, width);
  const line = (cells: string[], tone: (column: Column, text: string) => Tone | undefined) =>
    cells
      .map((text, i) => paintCell(text, widths[i], columns[i], tone(columns[i], text), paint))
      .join(gap)
      .trimEnd();
  const titles = columns.map(({ title }) => title);
  return [line(titles, () => 'dim'), ...plain.map((row) => line(row, (column, text) => column.tone?.(text)))];
}

export function numeric(...titles: string[]): Column[] {
  return titles.map((title) => ({ title, align: 'right' }));
}

/** A column of names, then columns of figures. */
export function figureColumns([name, ...figures]: readonly [string, ...string[]]): Column[] {
  return [{ title: name }, ...numeric(...figures)];
}

/** Text from a model file, safe to print: control characters could move the cursor or recolour the screen. */
export function withoutControls(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}

/** At most `width` characters, the middle of a longer text replaced by an ellipsis. */
export function shortenMiddle(text: string, width: number): string {
  const characters = Array.from(text);
  if (characters.length <= width) return text;
  const head = Math.ceil((width - 1) / 2);
  const tail = width - 1 - head;
  return `${characters.slice(0, head).join('')}…${characters.slice(characters.length - tail).join('')}`;
}

function fitWidths(columns: Column[], rows: string[][], width: number): number[] {
  const widths = columns.map(({ title }, i) =>
    Math.max(...[title, ...rows.map((row) => row[i])].map(lengthOf)),
  );
  for (;;) {
    const excess = widths.reduce((sum, w) => sum + w, gap.length * (widths.length - 1)) - width;
    const names = columns.flatMap(({ align }, i) => (align === 'right' || widths[i] <= narrowest ? [] : [i]));
    if (excess <= 0 || names.length === 0) return widths;
    const [widest, next = widest] = names.toSorted((a, b) => widths[b] - widths[a]);
    const step = Math.max(1, widths[widest] - widths[next]);
    widths[widest] = Math.max(narrowest, widths[widest] - Math.min(excess, next === widest ? excess : step));
  }
}

function paintCell(
  text: string,
  width: number,
  column: Column,
  tone: Tone | undefined,
  paint: Paint,
): string {
  const short = shortenMiddle(text, width);
  const painted = tone ? paint(tone, short) : short;
  const padding = ' '.repeat(width - lengthOf(short));
  return column.align === 'right' ? padding + painted : painted + padding;
}

function lengthOf(text: string): number {
  return Array.from(text).length;
}
