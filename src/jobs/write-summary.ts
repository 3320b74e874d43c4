import { join } from 'node:path';
import { Fault } from '../fault.ts';
import { writeText } from '../tensor/output-files.ts';
import { batchHtml } from './batch-html.ts';
import { batchJunit } from './batch-junit.ts';
import { errorRecord } from './error-record.ts';
import type { JobOutcome } from './job-outcome.ts';
import type { BatchPlan } from './plan.ts';

/**
 * Writes `summary.json`, `junit.xml` and `index.html` into the output folder. They hold no times, so that a run that
 * was killed and resumed leaves the same bytes as one that was not.
 * @throws Fault DISK_FULL, OUTPUT_FAILED
 */
export function writeSummary(
  { output, work }: Pick<BatchPlan, 'output' | 'work'>,
  outcomes: readonly JobOutcome[],
): void {
  const jobs = outcomes.map(({ seconds: _seconds, reused: _reused, ...result }) => result);
  const files = {
    'summary.json': `${JSON.stringify({ jobs }, null, 2)}\n`,
    'junit.xml': batchJunit(outcomes),
    'index.html': batchHtml(outcomes),
  };
  try {
    for (const [name, text] of Object.entries(files)) writeText(join(output, name), text, work);
  } catch (error) {
    throw Fault.fromRecord(errorRecord(error, output, output));
  }
}
