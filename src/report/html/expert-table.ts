import { type Markup, nothing } from './markup.ts';
import { htmlTable, numeric } from './table.ts';

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
