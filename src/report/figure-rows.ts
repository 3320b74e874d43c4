import { formatBytes, formatCount, formatDecibels, formatFigure, formatShare } from './format.ts';
import type { CensusRow, Report } from './report.ts';

/** Cells of a table whose first column names what the figures behind it are of. */
interface FigureRows {
  titles: [string, ...string[]];
  rows: string[][];
}

/** What each cause of the loss costs alone; the reference is the measure of all. */
export function attributionRows({ routing, experts, both }: NonNullable<Report['attribution']>): FigureRows {
  const causes = [
    ['changed routing alone', routing],
    ['quantized experts alone', experts],
    ['both, as measured', both],
  ] as const;
  return {
    titles: ['cause', 'KL, nats', 'perplexity', 'SQNR'],
    rows: causes.map(([name, { kl, perplexity = null, sqnrDb = null }]) => [
      name,
      formatFigure(kl),
      formatFigure(perplexity),
      formatDecibels(sqnrDb),
    ]),
  };
}

/** Exact match by task. */
export function taskRows(
  tasks: Report['tasks'],
  changeText = (change: number): string => change.toFixed(4),
): FigureRows {
  return {
    titles: ['task', 'records', 'reference', 'quantized', 'change'],
    rows: Object.entries(tasks).map(([name, { records, reference, quantized }]) => [
      name,
      formatCount(records),
      formatShare(reference),
      formatShare(quantized),
      changeText(quantized - reference),
    ]),
  };
}

/** Bytes by role, and how many tensors were refused. */
export function censusRows(census: readonly CensusRow[], countText = formatCount): FigureRows {
  return {
    titles: ['role', 'quantized', 'kept', 'refused'],
    rows: census.map(({ role, quantizedBytes, keptBytes, refused }) => [
      role,
      formatBytes(quantizedBytes),
      formatBytes(keptBytes),
      countText(refused.length),
    ]),
  };
}
