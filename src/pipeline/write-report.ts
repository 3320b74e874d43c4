import { join } from 'node:path';
import type { QuantizeConfig } from '../config/schema.ts';
import { writeText } from '../files/output-files.ts';
import { evaluateGates } from '../report/gates/gates.ts';
import { reportHtml } from '../report/html.ts';
import type { Gate, Report } from '../report/report.ts';
import { serializeReport } from '../report/report.ts';

/**
 * Holds a report against limits and writes it into a folder, if there is one; also where a limit names nothing that the
 * report holds, since it took its time to measure.
 * @throws Fault GATE_UNKNOWN, OUTPUT_FAILED
 */
export function judgeReport(
  report: Report,
  limits: QuantizeConfig['gates'],
  folder: string | null | undefined,
): Report {
  let gates: Gate[] = [];
  try {
    gates = evaluateGates(report, limits);
  } finally {
    if (folder) writeReport({ ...report, gates }, folder);
  }
  return { ...report, gates };
}

/**
 * Writes `report.json` and `report.html` into a folder, which is made if need be; each appears whole or not at all.
 * @throws Fault OUTPUT_FAILED
 */
export function writeReport(report: Report, folder: string): void {
  writeText(join(folder, 'report.json'), serializeReport(report));
  writeText(join(folder, 'report.html'), reportHtml(report));
}
