import { formatDb, formatDecibels } from '../format.ts';
import { median } from '../median.ts';
import type { Report } from '../report.ts';
import { identicalDb } from '../serialize-report.ts';
import { heatMap } from './heat-map.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { figures, htmlTable, numeric } from './table.ts';

const steps = 7;
/** Colours span at least this many dB below the best expert, so that small differences do not look alarming. */
const smallestSpan = 14;

/** SQNR of every expert: the lowest stand out. */
export function sqnrSection({ layers }: Report): Markup {
  const values = layers.flatMap(({ experts }) => experts.flatMap(({ sqnrDb }) => sqnrDb ?? []));
  if (values.length === 0) return markup`<p>No expert saw a token.</p>\n`;
  const high = Math.ceil(Math.min(identicalDb, Math.max(...values)));
  const low = Math.min(Math.floor(Math.min(...values)), high - smallestSpan);
  const edge = (step: number) => Math.round((low + ((high - low) * step) / steps) * 10) / 10;
  const stepOf = (value: number) => Math.min(steps - 1, Math.floor(((value - low) / (high - low)) * steps));
  const text = `From ${formatDecibels(Math.min(...values))} to ${formatDecibels(Math.max(...values))}, ${formatDecibels(median(values))} at the median.`;
  const map = heatMap({
    title: 'SQNR of every expert: layers down, experts across',
    description: text,
    rows: layers.map(({ id, experts }) => ({
      label: id,
      cells: experts.map(({ sqnrDb }) => (sqnrDb === null ? 'unseen' : `h${stepOf(sqnrDb)}`)),
    })),
    legend: [
      ...Array.from({ length: steps }, (_, i) => ({
        class: `h${i}`,
        label: `${edge(i)} to ${edge(i + 1)} dB`,
      })),
      { class: 'unseen', label: 'unseen' },
    ],
  });
  return markup`<p>How far the output of each expert is from the reference on its own tokens; higher is better. ${text}</p>
${map}${figures('SQNR of every expert', everyExpert(layers))}`;
}

function everyExpert(layers: Report['layers']): Markup {
  const most = Math.max(...layers.map(({ experts }) => experts.length));
  const columns = [{ title: 'layer' }, ...numeric(...Array.from({ length: most }, (_, i) => String(i)))];
  const rows = layers.map(({ id, experts }) => [
    id,
    ...Array.from({ length: most }, (_, i) => (experts[i] ? formatDb(experts[i].sqnrDb) : nothing)),
  ]);
  return htmlTable('SQNR of every expert, dB', columns, rows);
}
