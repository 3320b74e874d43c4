import { formatDb, formatDecibels, identicalDb } from '../format.ts';
import { measured, median } from '../median.ts';
import type { Report } from '../report.ts';
import { heatMap } from './heat-map.ts';
import { type Markup, markup } from './markup.ts';
import { expertTable, figures } from './table.ts';

/** Lower edges of the colours h1 to h6, in dB from the median expert: one unusually good expert alarms nobody. */
const edges = [-9, -6, -4, -2, 0, 3];

/** SQNR of every expert: the lowest stand out. */
export function sqnrSection({ layers }: Report): Markup {
  const values = measured(layers.flatMap(({ experts }) => experts.map(({ sqnrDb }) => sqnrDb)));
  if (values.length === 0) return markup`<p>No expert has an SQNR.</p>\n`;
  const middle = Math.min(median(values), identicalDb);
  const text = `From ${formatDecibels(Math.min(...values))} to ${formatDecibels(Math.max(...values))}, ${formatDecibels(middle)} at the median.`;
  const map = heatMap({
    title: 'SQNR of every expert: layers down, experts across',
    description: text,
    rows: layers.map(({ id, experts }) => ({
      label: id,
      cells: experts.map(({ sqnrDb }) =>
        sqnrDb === null ? 'unseen' : `h${stepOf(Math.min(sqnrDb, identicalDb) - middle)}`,
      ),
    })),
    legend: [...legendOf(middle), { class: 'unseen', label: 'unseen' }],
  });
  return markup`<p>How far the output of each expert is from the reference on its own tokens; higher is better. ${text} Colours tell the distance from the median.</p>
${map}${figures(
    'SQNR of every expert',
    expertTable('SQNR of every expert, dB', layers, ({ sqnrDb }) => formatDb(sqnrDb)),
  )}`;
}

function stepOf(distance: number): number {
  return edges.filter((edge) => distance >= edge).length;
}

function legendOf(middle: number): { class: string; label: string }[] {
  const [lowest, ...others] = edges.map((edge) => formatDecibels(middle + edge));
  const ranges = others.map((upper, i) => `${formatDb(middle + edges[i])} to ${upper}`);
  const labels = [`below ${lowest}`, ...ranges, `${others.at(-1)} and more`];
  return labels.map((label, i) => ({
    class: `h${i}`,
    label: middle + edges[i - 1] >= identicalDb ? 'identical' : label,
  }));
}
