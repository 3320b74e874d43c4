import type { CommandModule } from 'yargs';
import { loadBatch } from '../config/load-batch.ts';
import { parseSet } from '../config/set.ts';
import { Fault } from '../fault.ts';
import type { GatherCrew, JobProgress } from '../jobs/crew.ts';
import { describePlan } from '../jobs/plan/describe-plan.ts';
import { isPlanned, planBatch } from '../jobs/plan/plan-batch.ts';
import { runBatch } from '../jobs/run-batch.ts';
import { describeOutcomes } from '../jobs/summary/describe-outcomes.ts';
import type { JobOutcome } from '../jobs/summary/job-outcome.ts';
import { writeSummary } from '../jobs/summary/write-summary.ts';
import { threadCrew } from '../jobs/threads/thread-crew.ts';
import { paint, print, printJson, showNotice } from './output.ts';
import { listOption } from './run-options.ts';
import { plainLines } from './show-progress.ts';
import { stopSignal } from './signals.ts';

interface Arguments {
  batch: string;
  jobs?: string | undefined;
  resume: boolean;
  dryRun: boolean;
  set: string[];
  json: boolean;
  queue?: string | undefined;
}

export const runCommand: CommandModule<object, Arguments> = {
  command: 'run <batch>',
  describe: 'quantize many models by many recipes',
  builder: (yargs) =>
    yargs
      .positional('batch', { type: 'string', demandOption: true, describe: 'a batch file, YAML or JSON' })
      .options({
        jobs: { type: 'string', describe: 'jobs that run at a time' },
        resume: { type: 'boolean', default: false, describe: 'keep what an earlier run finished' },
        'dry-run': { type: 'boolean', default: false, describe: 'say what would be done, and do nothing' },
        queue: { type: 'string', describe: 'have workers do it, found through a server: redis://HOST:PORT' },
        set: listOption('override a batch key: key=value'),
        json: { type: 'boolean', default: false, describe: 'print one JSON document on standard output' },
      }) as never,
  async handler({ batch, jobs, resume, dryRun, queue, set, json }) {
    // As it was typed: what is no number is told by the schema of the key.
    const flags = jobs === undefined ? [] : [{ ...parseSet(`jobs=${jobs}`), flag: `--jobs ${jobs}` }];
    const plan = await planBatch(loadBatch(batch, [...set.map((text) => parseSet(text)), ...flags]));
    if (dryRun) {
      if (json) printJson(plan);
      else print(describePlan(plan, paint));
      if (!plan.jobs.every(isPlanned)) process.exitCode = 2;
      return;
    }
    const crew = queue === undefined ? threadCrew : await crewBehind(queue);
    const signal = stopSignal();
    const show = { progress: lineByLine(), ended: showEnd, notice: showNotice };
    const outcomes = await runBatch(plan, crew, { resume, signal, ...show });
    if (json) printJson({ output: plan.output, jobs: outcomes });
    else print(describeOutcomes(outcomes, paint));
    process.exitCode = exitCodeOf(outcomes);
    writeSummary(plan, outcomes);
  },
};

/** What a queue needs is loaded by those who use one. */
async function crewBehind(queue: string): Promise<GatherCrew> {
  const { openQueueClient } = await import('../jobs/queue/queue-client.ts');
  const { queueCrew } = await import('../jobs/queue/queue-crew.ts');
  const client = await openQueueClient(queue);
  return (plan, options) => queueCrew(client, plan, options);
}

/** 2 when a job could not be done, 1 when all were done and a gate failed. */
export function exitCodeOf(outcomes: readonly JobOutcome[]): number {
  const has = (...wanted: JobOutcome['status'][]): boolean =>
    outcomes.some(({ status }) => wanted.includes(status));
  if (has('failed', 'skipped')) return 2;
  return has('gates') ? 1 : 0;
}

/** Jobs run side by side, so each piece of work is one line, on terminals too. */
function lineByLine(): (event: JobProgress) => void {
  const jobs = new Map<string, ReturnType<typeof plainLines>>();
  return (event) => {
    const { job, stage, detail } = event;
    const isNewWork = jobs.get(job) ?? plainLines();
    jobs.set(job, isNewWork);
    if (isNewWork(event)) process.stderr.write(`${job}: ${stage} ${detail}\n`);
  };
}

function showEnd({ name, status, fault, seconds }: JobOutcome): void {
  process.stderr.write(`${name}: ${status} after ${seconds.toFixed(1)} s\n`);
  if (fault) process.stderr.write(`${Fault.fromRecord(fault).message}\n`);
}
