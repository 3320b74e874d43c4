import { z } from 'zod';
import { Fault } from '../fault.ts';
import type { Report } from './report.ts';
import { reportSchema } from './schema.ts';

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
    remedy: 'give a report.json written by "moeq verify --report" or "moeq quantize --report"',
  });
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Fault(
      { code: 'REPORT_INVALID', what: 'the report is not JSON', where: path, why: String(cause) },
      { cause },
    );
  }
}
