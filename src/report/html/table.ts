import type { Markup } from './markup.ts';
import { markup, nothing } from './markup.ts';

export interface TableColumn {
  title: string;
  /** Right-aligned, in figures of equal width. */
  numeric?: boolean;
}

/** An HTML table whose first column heads its rows, in a region that scrolls sideways and can be focused to do so. */
export function htmlTable(caption: string, columns: TableColumn[], rows: (Markup | string)[][]): Markup {
  const kind = (i: number) => (columns[i].numeric ? markup` class="n"` : markup``);
  const head = columns.map(({ title }, i) => markup`<th scope="col"${kind(i)}>${title}</th>`);
  const body = rows.map(
    ([first, ...cells]) =>
      markup`<tr><th scope="row">${first}</th>${cells.map((cell, i) => markup`<td${kind(i + 1)}>${cell}</td>`)}</tr>\n`,
  );
  return scrollRegion(
    caption,
    markup`<table><caption>${caption}</caption><thead><tr>${head}</tr></thead>\n<tbody>${body}</tbody></table>`,
  );
}

/** What may be wider than the page: it scrolls by touch, wheel and arrow keys. */
export function scrollRegion(label: string, content: Markup): Markup {
  return markup`<div class="scroll" role="region" tabindex="0" aria-label="${label}">${content}</div>\n`;
}

/** Figures behind a chart, folded away. */
export function figures(summary: string, content: Markup): Markup {
  return markup`<details><summary>${summary}</summary>\n${content}</details>\n`;
}

export function numeric(...titles: string[]): TableColumn[] {
  return titles.map((title) => ({ title, numeric: true }));
}

/** A column of names, then columns of figures. */
export function figureColumns([name, ...figures]: readonly [string, ...string[]]): TableColumn[] {
  return [{ title: name }, ...numeric(...figures)];
}

/** One figure of every expert: layers down, experts across. */
export function expertTable<Expert>(
  caption: string,
  layers: readonly { id: string; experts: readonly Expert[] }[],
  cell: (expert: Expert) => string,
): Markup {
  const most = Math.max(...layers.map(({ experts }) => experts.length));
  const positions = Array.from({ length: most }, (_, i) => i);
  const rows = layers.map(({ id, experts }) => [
    id,
    ...positions.map((i) => (i < experts.length ? cell(experts[i]) : nothing)),
  ]);
  return htmlTable(caption, [{ title: 'layer' }, ...numeric(...positions.map(String))], rows);
}
