import { formatFigure, formatShare } from '../format.ts';
import type { LayerReport, Report } from '../report.ts';
import { lineChart } from './line-chart.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { expertTable, figures, htmlTable, numeric } from './table.ts';

/** Router agreement by layer: local accuses the router itself, cumulative what reached it. */
export function routingSection({ layers }: Report): Markup {
  const local = layers.map(({ router }) => router.local.topKAgreement);
  const cumulative = layers.map(({ router }) => router.cumulative.topKAgreement);
  const worst = cumulative.indexOf(Math.min(...cumulative));
  const description =
    worst < 0
      ? ''
      : `The lowest cumulative agreement is ${formatShare(cumulative[worst])} in ${layers[worst].id}.`;
  const chart = lineChart({
    title: 'Top-k agreement by layer',
    description: `${description} The table below has every figure.`,
    labels: layers.map(({ id }) => id),
    lines: [
      { class: 'a', label: 'local: router fed the reference’s input', values: local },
      { class: 'b', label: 'cumulative: the quantized model’s own input', values: cumulative },
    ],
  });
  return markup`<p>Share of the selected experts that both models select. ${description}</p>
${chart}${figures('Figures by layer', markup`${metricTable('cumulative', layers)}${metricTable('local', layers)}${keptTable(layers)}`)}`;
}

function keptTable(layers: LayerReport[]): Markup {
  if (layers.some(({ experts }) => experts.some(({ kept }) => !kept))) return nothing;
  const caption = 'Share of its tokens that the router leaves to every expert, local';
  return expertTable(caption, layers, ({ kept }) => formatShare(kept!.local));
}

function metricTable(kind: 'local' | 'cumulative', layers: LayerReport[]): Markup {
  const columns = [
    { title: 'layer' },
    ...numeric('top-k agreement', 'exact set', 'top-1', 'logit MSE', 'KL', 'weight L1', 'margin flips'),
  ];
  const rows = layers.map(({ id, router }) => {
    const { topKAgreement, exactSet, top1Agreement, mse, kl, weightL1, marginFlipRate } = router[kind];
    const shares = [topKAgreement, exactSet, top1Agreement].map(formatShare);
    return [id, ...shares, ...[mse, kl, weightL1, marginFlipRate].map(formatFigure)];
  });
  return htmlTable(`Router alignment, ${kind}`, columns, rows);
}
