import { countState, layerCoverage } from './coverage.ts';
import { executionText } from './execution-text.ts';
import { attributionRows, censusRows, taskRows } from './figure-rows.ts';
import { formatBytes, formatCount, formatDb, formatDecibels, formatFigure, formatShare } from './format.ts';
import { gateLines } from './gates/gate-lines.ts';
import { findOutliers } from './outliers.ts';
import { refusalsByReason } from './refusals.ts';
import type { Report } from './report.ts';
import { type Paint, figureColumns, plainPaint, terminalTable } from './terminal-table.ts';
import { hangingText } from './wrap-text.ts';

const width = 100;
const outliersShown = 3;

/** A report for the terminal: the verdict first, then the figures behind it, in at most 100 columns. */
export function summarize(report: Report, paint: Paint = plainPaint): string {
  const sections = [
    verdictLines(report, paint),
    factLines(report, paint),
    section('Where the loss comes from', causeLines(report, paint), paint),
    section('Layers', layerLines(report, paint), paint),
    section('Tasks, exact match', taskLines(report, paint), paint),
    section('Size', sizeLines(report, paint), paint),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

function section(title: string, lines: string[], paint: Paint): string[] {
  return lines.length === 0 ? [] : [paint('strong', title), ...lines];
}

function verdictLines(report: Report, paint: Paint): string[] {
  const outliers = findOutliers(report);
  const shown = outliers.slice(0, outliersShown).flatMap(({ place, finding }) => {
    return hangingText('  look at ', `${place}: ${finding}`, width);
  });
  const more = outliers.length - outliersShown;
  return [
    ...gateLines(report.gates, width, paint),
    ...shown,
    ...(more > 0 ? [`  and ${more} more layers or experts that stand out`] : []),
  ];
}

function factLines(
  { reference, quantized, data, execution, output, notes = [] }: Report,
  paint: Paint,
): string[] {
  const rows = [
    ['model', `${quantized.path} against ${reference.path}`],
    ['data', `${formatCount(data.records)} records, ${formatCount(data.tokens)} tokens`],
    ['execution', executionText(execution)],
    ['output', outputText(output)],
    ...notes.map((note) => ['note', note]),
  ];
  return rows.flatMap(([name, text]) => {
    const [first, ...rest] = hangingText(name.padEnd(11), text, width);
    return [first.replace(name, paint('dim', name)), ...rest];
  });
}

function outputText({ sqnrDb, kl, top1Agreement, perplexity }: Report['output']): string {
  const figures = `SQNR ${formatDecibels(sqnrDb)}, KL ${formatFigure(kl)}, top-1 agreement ${formatShare(top1Agreement)}`;
  if (!perplexity) return figures;
  return `${figures}, perplexity ${formatFigure(perplexity.reference)} -> ${formatFigure(perplexity.quantized)}`;
}

function causeLines({ attribution }: Report, paint: Paint): string[] {
  if (!attribution) return [];
  const { titles, rows } = attributionRows(attribution);
  return terminalTable(figureColumns(titles), rows, paint, width);
}

function layerLines(report: Report, paint: Paint): string[] {
  const coverages = layerCoverage(report);
  const columns = figureColumns([
    'layer',
    'experts',
    'tokens min',
    'median',
    'max',
    'starved',
    'unseen',
    'top-k local',
    'cumulative',
    'worst dB',
  ]);
  const rows = report.layers.map(({ id, router, experts }, i) => {
    const coverage = coverages[i];
    const seen = experts.flatMap(({ sqnrDb }) => sqnrDb ?? []);
    return [
      id,
      formatCount(experts.length),
      ...[coverage.min, coverage.median, coverage.max].map((value) => formatCount(Math.round(value))),
      coverage.floor === null ? '–' : formatCount(countState(coverage, 'starved')),
      formatCount(countState(coverage, 'unseen')),
      formatShare(router.local.topKAgreement),
      formatShare(router.cumulative.topKAgreement),
      formatDb(seen.length === 0 ? null : Math.min(...seen)),
    ];
  });
  if (rows.length === 0) return [];
  const source = paint(
    'dim',
    `tokens per expert in the ${coverages[0].source} data; worst dB: the expert with the lowest SQNR`,
  );
  return [...terminalTable(columns, rows, paint, width), source];
}

function taskLines({ tasks }: Report, paint: Paint): string[] {
  const { titles, rows } = taskRows(tasks);
  return rows.length === 0 ? [] : terminalTable(figureColumns(titles), rows, paint, width);
}

function sizeLines({ size, census }: Report, paint: Paint): string[] {
  const { referenceBytes, quantizedBytes, expertBitsPerWeight } = size;
  const bits =
    expertBitsPerWeight === null ? '' : `, experts ${formatFigure(expertBitsPerWeight)} bits a weight`;
  const factor = (referenceBytes / quantizedBytes).toFixed(2);
  const { titles, rows } = censusRows(census);
  return [
    `${formatBytes(referenceBytes)} -> ${formatBytes(quantizedBytes)}, ${factor} times smaller${bits}`,
    ...terminalTable(figureColumns(titles), rows, paint, width),
    ...refusalsByReason(census).flatMap(({ role, reason, tensors }) =>
      hangingText('  ', `${role}: ${formatCount(tensors.length)} refused, ${reason} (${tensors[0]})`, width),
    ),
  ];
}
