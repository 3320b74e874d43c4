import { type LayerCoverage, countState, layerCoverage } from '../coverage.ts';
import { formatAmount, formatCount } from '../format.ts';
import type { Report } from '../report.ts';
import { heatMap } from './heat-map.ts';
import { type Markup, markup } from './markup.ts';
import { expertTable, figures, htmlTable, numeric } from './table.ts';

const layersUnfolded = 12;

/** Tokens per expert: who is covered, starved or unseen. */
export function expertsSection(report: Report): Markup {
  const coverages = layerCoverage(report);
  const [starved, unseen] = (['starved', 'unseen'] as const).map((state) =>
    coverages.reduce((sum, coverage) => sum + countState(coverage, state), 0),
  );
  const experts = coverages.reduce((sum, coverage) => sum + coverage.experts.length, 0);
  const text = `Of ${formatCount(experts)} experts ${formatCount(starved)} are starved and ${formatCount(unseen)} unseen in the ${coverages[0].source} data.`;
  const byLayer = coverageTable(report, coverages);
  return markup`<p>${text}${floorText(coverages)}</p>
${coverageMap(coverages, text)}${coverages.length > layersUnfolded ? figures('Tokens by layer', byLayer) : byLayer}
${figures(
  'Tokens of every expert',
  expertTable('Tokens of every expert', coverages, ({ tokens }) => formatCount(tokens)),
)}`;
}

function floorText(coverages: LayerCoverage[]): string {
  const floors = [...new Set(coverages.map(({ floor }) => floor))];
  if (floors.includes(null)) return ' No floor is known, so none counts as starved.';
  return ` An expert counts as covered from ${floors.map((floor) => formatAmount(floor ?? 0, 'token')).join(' or ')} on.`;
}

/** Covered experts in four shades by tokens over the floor, or over the layer's median where there is none. */
function coverageMap(coverages: LayerCoverage[], description: string): Markup {
  const floor = coverages.every((coverage) => coverage.floor !== null);
  const unit = floor ? '× the floor' : '× the median';
  return heatMap({
    title: 'Tokens per expert: layers down, experts across',
    description,
    rows: coverages.map((coverage) => ({
      label: coverage.id,
      cells: coverage.experts.map(({ tokens, state }) => {
        if (state !== 'covered') return state;
        const times = tokens / (floor ? (coverage.floor ?? 1) : coverage.median);
        return times < 2 ? 'c1' : times < 8 ? 'c2' : times < 32 ? 'c3' : 'c4';
      }),
    })),
    legend: [
      { class: 'unseen', label: 'unseen: no token' },
      { class: 'starved', label: 'starved: below the floor' },
      { class: 'c1', label: `below 2 ${unit}` },
      { class: 'c2', label: `2 to 8 ${unit}` },
      { class: 'c3', label: `8 to 32 ${unit}` },
      { class: 'c4', label: `32 ${unit} and more` },
    ],
  });
}

function coverageTable({ calibration }: Report, coverages: LayerCoverage[]): Markup {
  const balanced = coverages.map(
    ({ id }) => calibration?.layers.find((layer) => layer.id === id)?.experts.before,
  );
  const withBefore = balanced.every((before) => before !== undefined);
  const columns = [
    { title: 'layer' },
    ...numeric('experts', 'fewest tokens', 'median', 'most', 'covered', 'starved', 'unseen'),
    ...(withBefore ? numeric('starved before balancing', 'unseen before') : []),
  ];
  const rows = coverages.map((coverage, i) => {
    const states = (['covered', 'starved', 'unseen'] as const).map((state) => countState(coverage, state));
    const { starved = 0, unseen = 0 } = balanced[i] ?? {};
    const counts = [
      coverage.experts.length,
      coverage.min,
      Math.round(coverage.median),
      coverage.max,
      ...states,
    ];
    return [coverage.id, ...[...counts, ...(withBefore ? [starved, unseen] : [])].map(formatCount)];
  });
  return htmlTable('Tokens per expert by layer', columns, rows);
}
