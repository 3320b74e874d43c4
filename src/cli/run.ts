import type { CommandModule } from 'yargs';
import { loadBatch } from '../config/load-batch.ts';
import { parseSet } from '../config/set.ts';
import { Fault } from '../fault.ts';
import { describeOutcomes, describePlan } from '../jobs/describe-batch.ts';
import type { JobOutcome } from '../jobs/job-outcome.ts';
import type { JobProgress } from '../jobs/crew.ts';
import { planBatch } from '../jobs/plan-batch.ts';
import { runBatch } from '../jobs/run-batch.ts';
import { writeSummary } from '../jobs/write-summary.ts';
import { paint } from './paint.ts';
import { print, printJson } from './write-output.ts';

interface Arguments {
  batch: string;
  jobs?: number | undefined;
  resume: boolean;
  dryRun: boolean;
  set: string[];
  json: boolean;
}

export const runCommand: CommandModule<object, Arguments> = {
  command: 'run <batch>',
  describe: 'quantize many models by many recipes',
  builder: (yargs) =>
    yargs
      .positional('batch', { type: 'string', demandOption: true, describe: 'a batch file, YAML or JSON' })
      .options({
        jobs: { type: 'number', describe: 'jobs that run at a time' },
        resume: { type: 'boolean', default: false, describe: 'keep what an earlier run finished' },
        'dry-run': { type: 'boolean', default: false, describe: 'say what would be done, and do nothing' },
        set: { type: 'string', array: true, default: [], describe: 'override a batch key: key=value' },
        json: { type: 'boolean', default: false, describe: 'print one JSON document on standard output' },
      })
      .nargs('set', 1) as never,
  async handler({ batch, jobs, resume, dryRun, set, json }) {
    const flags = jobs === undefined ? [] : [{ flag: `--jobs ${jobs}`, path: ['jobs'], value: jobs }];
    const plan = await planBatch(loadBatch(batch, [...set.map((text) => parseSet(text)), ...flags]));
    if (dryRun) {
      if (json) printJson(plan);
      else print(describePlan(plan, paint));
      return;
    }
    const signal = stopSignal();
    const outcomes = await runBatch(plan, { resume, signal, progress: showProgress, ended: showEnd });
    if (json) printJson({ output: plan.output, jobs: outcomes });
    else print(describeOutcomes(outcomes, paint));
    process.exitCode = exitCodeOf(outcomes);
    writeSummary(plan.output, outcomes);
  },
};

/** 2 when a job could not be done, 1 when all were done and a gate failed. */
function exitCodeOf(outcomes: readonly JobOutcome[]): number {
  const has = (...wanted: JobOutcome['status'][]): boolean =>
    outcomes.some(({ status }) => wanted.includes(status));
  if (has('failed', 'skipped')) return 2;
  return has('gates') ? 1 : 0;
}

/**
 * The first Ctrl-C lets the work under way end and keeps it; the second ends the process at once, which costs no more
 * than that work. A thread inside ONNX Runtime must not be terminated, so nothing gentler is left.
 */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.kill(process.pid, 'SIGKILL');
    process.stderr.write('stopping after the work under way; again to stop at once\n');
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return controller.signal;
}

function showProgress({ job, stage, detail }: JobProgress): void {
  process.stderr.write(`${job}: ${stage} ${detail}\n`);
}

function showEnd({ name, status, fault, seconds }: JobOutcome): void {
  process.stderr.write(`${name}: ${status} after ${seconds.toFixed(1)} s\n`);
  if (fault) process.stderr.write(`${Fault.fromRecord(fault).message}\n`);
}
