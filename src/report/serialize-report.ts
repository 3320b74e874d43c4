import type { Report } from './report.ts';

/** Stands for "identical" in files: JSON has no infinity, and float32 outputs that differ at all stay below it. */
export const identicalDb = 200;

/**
 * The text of `report.json`: an infinite SQNR (nothing differs) becomes {@link identicalDb}, any other figure
 * that is not finite becomes `null`. The per-record arrays take one line each.
 */
export function serializeReport(report: Report): string {
  const { records, ...rest } = report;
  const body = JSON.stringify(rest, finiteSqnr, 2);
  if (!records) return `${body}\n`;
  const lines = Object.entries(records).map(
    ([key, value]) => `    ${JSON.stringify(key)}: ${JSON.stringify(value)}`,
  );
  return `${body.slice(0, -2)},\n  "records": {\n${lines.join(',\n')}\n  }\n}\n`;
}

function finiteSqnr(key: string, value: unknown): unknown {
  return key === 'sqnrDb' && value === Number.POSITIVE_INFINITY ? identicalDb : value;
}
