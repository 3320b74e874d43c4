import { join } from 'node:path';
import { writeWhole } from './artefact-store.ts';
import { batchHtml } from './batch-html.ts';
import { batchJunit } from './batch-junit.ts';
import type { JobOutcome } from './job-outcome.ts';

/** Writes `summary.json`, `junit.xml` and `index.html` into the output folder. */
export function writeSummary(output: string, outcomes: readonly JobOutcome[]): void {
  const files = {
    'summary.json': `${JSON.stringify({ jobs: outcomes }, null, 2)}\n`,
    'junit.xml': batchJunit(outcomes),
    'index.html': batchHtml(outcomes),
  };
  for (const [name, text] of Object.entries(files))
    writeWhole(join(output, name), [new TextEncoder().encode(text)]);
}
