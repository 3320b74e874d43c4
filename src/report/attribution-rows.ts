import { formatDecibels, formatFigure } from './format.ts';
import type { Report } from './report.ts';

/** What each cause of the loss costs alone, as the cells of a table; the reference is the measure of all. */
export function attributionRows({ routing, experts, both }: NonNullable<Report['attribution']>): {
  titles: [string, ...string[]];
  rows: string[][];
} {
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
