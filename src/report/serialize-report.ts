import type { Report } from './report.ts';

/**
 * The text of `report.json`: what is not finite becomes `null`. The per-record arrays take one line each.
 */
export function serializeReport(report: Report): string {
  const { records, ...rest } = report;
  const body = JSON.stringify(rest, null, 2);
  if (!records) return `${body}\n`;
  const lines = Object.entries(records).map(
    ([key, value]) => `    ${JSON.stringify(key)}: ${JSON.stringify(value)}`,
  );
  return `${body.slice(0, -2)},\n  "records": {\n${lines.join(',\n')}\n  }\n}\n`;
}
