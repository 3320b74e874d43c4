import { executionText } from '../execution-text.ts';
import { formatBytes, formatCount, formatDecibels, formatFigure, formatShare } from '../format.ts';
import { verdictText } from '../gates/gate-text.ts';
import { findOutliers } from '../outliers.ts';
import type { Report } from '../report.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { htmlTable, numeric } from './table.ts';

const outliersShown = 8;

/** The first screen: verdict, who is to blame, the limits, and the figures everybody asks for. */
export function summarySection(report: Report): Markup {
  return markup`${verdict(report)}${suspects(report)}${gateTable(report)}${keyFigures(report)}${execution(report)}${noteList(report)}`;
}

function verdict({ gates }: Report): Markup {
  const failed = gates.filter(({ ok }) => !ok);
  const state = failed.length > 0 ? 'bad' : gates.length > 0 ? 'good' : 'open';
  const mark = { bad: '✕', good: '✓', open: '○' }[state];
  const places = [...new Set(failed.flatMap(({ where }) => where ?? []))];
  const blame = places.length === 0 ? '' : `, worst in ${places.slice(0, 4).join(', ')}`;
  return markup`<p class="verdict ${state}"><span aria-hidden="true">${mark}</span> ${verdictText({ gates })}${blame}</p>\n`;
}

function suspects(report: Report): Markup {
  const outliers = findOutliers(report);
  if (outliers.length === 0) return nothing;
  const items = outliers.slice(0, outliersShown).map(({ place, finding }) => {
    return markup`<li><strong>${place}</strong>: ${finding}</li>\n`;
  });
  const more = outliers.length - items.length;
  const rest = more > 0 ? markup`<li>and ${more} more</li>` : nothing;
  return markup`<div class="suspects"><h3>Look here first</h3><ul>${items}${rest}</ul></div>\n`;
}

/** Place and remark stand under the name: a fifth column would leave a phone's screen. */
function gateTable({ gates }: Report): Markup {
  if (gates.length === 0) return nothing;
  const failedFirst = gates.toSorted((a, b) => Number(a.ok) - Number(b.ok));
  const rows = failedFirst.map(({ name, value, limit, ok, bound, where, why }) => [
    markup`${name}<small>${[where, why].filter(Boolean).join('; ')}</small>`,
    ok ? markup`<span class="good">holds</span>` : markup`<strong class="bad">failed</strong>`,
    formatFigure(value),
    `${bound === 'max' ? '≤' : '≥'} ${formatFigure(limit)}`,
  ]);
  return htmlTable('Gates', [{ title: 'gate' }, { title: 'result' }, ...numeric('value', 'limit')], rows);
}

function keyFigures({ size, output, layers, data }: Report): Markup {
  const { reference, quantized } = output.perplexity ?? { reference: Number.NaN, quantized: Number.NaN };
  const agreement = Math.min(...layers.map(({ router }) => router.cumulative.topKAgreement));
  const tiles: [string, string, string][] = [
    [
      'Size',
      formatBytes(size.quantizedBytes),
      `from ${formatBytes(size.referenceBytes)}, ${formatFigure(size.expertBitsPerWeight)} bits per expert weight`,
    ],
    ['Perplexity', formatFigure(quantized), `reference ${formatFigure(reference)}`],
    [
      'Worst layer’s routing',
      layers.length === 0 ? '–' : formatShare(agreement),
      'top-k agreement, cumulative',
    ],
    ['Top-1 agreement', formatShare(output.top1Agreement), `KL ${formatFigure(output.kl)} nats`],
    [
      'Output SQNR',
      formatDecibels(output.sqnrDb),
      `${formatCount(data.records)} records, ${formatCount(data.tokens)} tokens`,
    ],
  ];
  const items = tiles.map(
    ([name, value, note]) => markup`<div><dt>${name}</dt><dd><b>${value}</b><br>${note}</dd></div>\n`,
  );
  return markup`<dl class="tiles">${items}</dl>\n`;
}

function noteList({ notes = [] }: Report): Markup {
  return markup`${notes.map((note) => markup`<p>${note}</p>\n`)}`;
}

function execution({ execution: how, reference, quantized }: Report): Markup {
  const text = executionText(how);
  return markup`<p>${text[0].toUpperCase()}${text.slice(1)}. <span class="path">${quantized.path}</span> against <span class="path">${reference.path}</span>.</p>\n`;
}
