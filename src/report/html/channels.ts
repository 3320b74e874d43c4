import { formatFigure } from '../format.ts';
import type { Calibration } from '../report.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { shortLabel } from './short-label.ts';
import { figures, htmlTable, numeric } from './table.ts';

type Channels = NonNullable<Calibration['layers'][number]['channels']>;

const rowHeight = 22;
const left = 20;
const right = 97;

/** Outlier channels by layer, before and after smoothing. */
export function channelsSection({ layers }: Calibration): Markup {
  const measured = layers.flatMap(({ id, channels }) =>
    channels && channels.top.length > 0 ? [{ id, channels }] : [],
  );
  if (measured.length === 0) return markup`<p>The calibration recorded no channels.</p>\n`;
  return markup`<p>How many times larger the largest channel is than the median channel, in absolute activations into the experts. Smoothing should move it to the left.</p>
${dumbbells(measured)}${figures('Largest channels of every layer', channelTable(measured))}`;
}

/** Layers whose ratio is not finite, as with a median of 0, appear in the table only. */
function dumbbells(layers: { id: string; channels: Channels }[]): Markup {
  const ratios = layers
    .map(({ id, channels }) => ({
      id,
      before: ratioOf(channels, 'before'),
      after: ratioOf(channels, 'after'),
    }))
    .filter(({ before, after }) => Number.isFinite(before + after));
  if (ratios.length === 0) return nothing;
  const most = Math.max(2, ...ratios.flatMap(({ before, after }) => [before, after]));
  const x = (ratio: number) => {
    const share = Math.log10(Math.max(ratio, 1)) / Math.log10(most);
    return `${(left + (right - left) * share).toFixed(2)}%`;
  };
  const height = 24 + ratios.length * rowHeight;
  const ticks = (most > 15 ? [1, 10, 100, 1000, 10_000] : [1, 2, 5, 10]).filter((tick) => tick <= most);
  const worst = ratios.reduce((one, other) => (other.before > one.before ? other : one));
  const description = `The worst layer is ${worst.id}: ${formatFigure(worst.before)} times the median before, ${formatFigure(worst.after)} times after.`;
  return markup`<svg class="wide" role="img" aria-label="Outlier channels by layer" width="100%" height="${height}">
<title>Outlier channels by layer</title><desc>${description}</desc>
${ticks.map((tick) => markup`<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="18" y2="${height}"/><text x="${x(tick)}" y="9" class="m">${tick}×</text>`)}
${ratios.map(({ id, before, after }, i) => dumbbell(id, x(before), x(after), 24 + (i + 0.5) * rowHeight))}
</svg>
<ul class="legend"><li><svg width="14" height="14" aria-hidden="true"><circle class="a" cx="7" cy="7" r="4"/></svg> before smoothing</li><li><svg width="14" height="14" aria-hidden="true"><circle class="b" cx="7" cy="7" r="4"/></svg> after smoothing</li></ul>
`;
}

function dumbbell(id: string, before: string, after: string, y: number): Markup {
  return markup`<text x="${left - 2}%" y="${y}" class="e">${shortLabel(id)}</text><line class="join" x1="${before}" x2="${after}" y1="${y}" y2="${y}"/><circle class="a" cx="${before}" cy="${y}" r="4"/><circle class="b" cx="${after}" cy="${y}" r="4"/>\n`;
}

function ratioOf({ top, median }: Channels, when: 'before' | 'after'): number {
  return Math.max(...top.map((channel) => channel[when])) / median[when];
}

function channelTable(layers: { id: string; channels: Channels }[]): Markup {
  const columns = [
    { title: 'layer' },
    ...numeric('channel', 'before', 'after', 'median before', 'median after'),
  ];
  const rows = layers.flatMap(({ id, channels: { top, median } }) =>
    top.map(({ channel, before, after }, i) => [
      id,
      String(channel),
      ...[before, after].map(formatFigure),
      ...[median.before, median.after].map((value) => (i === 0 ? formatFigure(value) : nothing)),
    ]),
  );
  return htmlTable('Largest absolute activation by channel', columns, rows);
}
