import { z } from 'zod';
import { Fault } from '../fault.ts';
import { reportSchema } from './schema.ts';

/** The report of `verify --json`, also written as `report.json`: part of the public contract. */
export type Report = z.infer<typeof reportSchema>;

export type ModelFacts = Report['reference'];
export type OutputMetrics = Report['output'];
export type LayerReport = Report['layers'][number];
/** How alike two routers choose, over the same tokens. */
export type RouterMetrics = LayerReport['router']['local'];
export type CensusRow = Report['census'][number];
export type Gate = Report['gates'][number];
/** Per-record outcomes, from which `diff` tells noise from change. */
export type RecordOutcomes = NonNullable<Report['records']>;
/** Tokens per expert and outlier channels, as the calibration saw them. */
export type Calibration = NonNullable<Report['calibration']>;

const remedy = 'give a report.json written by "moeq verify --report" or "moeq quantize --report"';

/**
 * Reads the text of a `report.json`. Keys this version does not know are left out.
 * @param path names the file in the error.
 * @throws Fault `REPORT_INVALID` when the text is not JSON or not a report.
 */
export function parseReport(text: string, path: string): Report {
  const result = reportSchema.safeParse(parseJson(text, path));
  if (result.success) return result.data;
  throw new Fault({
    code: 'REPORT_INVALID',
    what: 'the file is not a moeq report',
    where: path,
    why: z.prettifyError({ issues: result.error.issues.slice(0, 5) }).replaceAll('\n', ' '),
    remedy,
  });
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw Fault.because(cause, {
      code: 'REPORT_INVALID',
      what: 'the report is not JSON',
      where: path,
      remedy,
    });
  }
}

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
