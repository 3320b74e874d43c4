import { executionText } from './execution-text.ts';
import { censusRows } from './figure-rows.ts';
import { formatBytes } from './format.ts';
import { median } from './median.ts';
import type { CensusRow, Report } from './report.ts';
import { type Column, type Paint, figureColumns, plainPaint, terminalTable } from './terminal-table.ts';
import { hangingText } from './wrap-text.ts';

/** What a conversion without verification has to say. */
export interface ConversionSummary {
  output: string;
  scheme: string;
  bytes: { before: number; after: number };
  expertBitsPerWeight: number | null;
  execution: Report['execution'];
  census: readonly CensusRow[];
  notes: readonly string[];
  calibration: readonly { layer: string; tokens: number; experts: readonly { tokens: number }[] }[] | null;
}

/** The end of a conversion, for the terminal: calibration per layer, then the census by role. */
export function describeConversion(summary: ConversionSummary, paint: Paint = plainPaint): string {
  const { output, scheme, bytes, expertBitsPerWeight, execution, census, notes, calibration } = summary;
  const bits =
    expertBitsPerWeight === null ? '' : `, ${expertBitsPerWeight.toFixed(2)} bits per expert weight`;
  return [
    `${output}: ${scheme}, ${formatBytes(bytes.before)} to ${formatBytes(bytes.after)}${bits}`,
    ...hangingText('', executionText(execution), 100),
    'Not verified: give --report or gates to measure routing and accuracy.',
    ...notes.flatMap((note) => hangingText('note  ', note, 100)),
    '',
    ...(calibration ? [...calibrationLines(calibration, paint), ''] : []),
    ...censusLines(census, paint),
  ].join('\n');
}

function calibrationLines(layers: NonNullable<ConversionSummary['calibration']>, paint: Paint): string[] {
  const columns: Column[] = [
    ...figureColumns(['layer', 'tokens', 'experts', 'least', 'median', 'most']),
    { title: 'unseen', align: 'right', tone: (text) => (text === '0' ? undefined : 'bad') },
  ];
  const rows = layers.map(({ layer, tokens, experts }) => {
    const counts = experts.map((expert) => expert.tokens);
    const figures = [tokens, counts.length, Math.min(...counts), median(counts), Math.max(...counts)];
    return [layer, ...figures.map(String), String(counts.filter((count) => count === 0).length)];
  });
  return terminalTable(columns, rows, paint);
}

/** Bytes by role, and every refusal with its reason. */
function censusLines(census: readonly CensusRow[], paint: Paint): string[] {
  const { titles, rows } = censusRows(census, String);
  const refusals = census.flatMap(({ refused }) =>
    refused.map(({ tensor, reason }) => `refused ${tensor}: ${reason}`),
  );
  return [...terminalTable(figureColumns(titles), rows, paint), ...refusals];
}
