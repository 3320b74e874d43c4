import { join } from 'node:path';
import { Fault } from '../../fault.ts';
import { writeText } from '../../files/output-files.ts';
import { errorRecord } from '../error-record.ts';
import type { BatchPlan } from '../plan/plan.ts';
import { batchHtml } from './batch-html.ts';
import { batchJunit } from './batch-junit.ts';
import type { JobOutcome } from './job-outcome.ts';

/** What a batch leaves of all its jobs. */
export const summaryFiles = ['summary.json', 'junit.xml', 'index.html'] as const;

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
  const texts = [`${JSON.stringify({ jobs }, null, 2)}\n`, batchJunit(outcomes), batchHtml(outcomes)];
  try {
    for (const [i, name] of summaryFiles.entries()) writeText(join(output, name), texts[i], work);
  } catch (error) {
    throw Fault.fromRecord(errorRecord(error, output, output));
  }
}
