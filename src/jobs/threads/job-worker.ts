import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { parentPort } from 'node:worker_threads';
import type { FaultRecord } from '../../fault.ts';
import { fileHash } from '../../files/file-hash.ts';
import type { ConversionResult } from '../../pipeline/convert.ts';
import { convert } from '../../pipeline/convert.ts';
import type { ProgressEvent } from '../../pipeline/progress.ts';
import { writeReport } from '../../pipeline/write-report.ts';
import { errorRecord, interrupted } from '../error-record.ts';
import type { JobPlan } from '../plan/plan.ts';
import type { MadeJob } from '../store/publish-job.ts';
import { filesIn, writeOutcome } from '../store/publish-job.ts';
import { openWork, stagingIn } from '../store/work-folder.ts';
import type { JobOutcome, OutputFile } from '../summary/job-outcome.ts';
import { judge, unfinished } from '../summary/job-outcome.ts';
import { openWorkshop } from './stored-workshop.ts';

/** One job for a thread. */
export interface JobTask {
  work: string;
  /** Key of the stored plan. */
  plan: string;
  /** Names the task in what the thread tells of it. */
  task: string;
  threads: number;
  memory: number;
  /** Set to 1 to stop at the next item; null for a task that is not to be stopped. */
  stop: Int32Array | null;
}

/** What a thread tells while it is at work. */
export interface TaskProgress extends ProgressEvent {
  task: string;
}

/** Entry of a thread that does one job: what items have left in the store is taken from there, and the rest is done. */
export default async function makeJob(task: JobTask): Promise<MadeJob | FaultRecord> {
  const made = { staging: randomUUID() };
  const staging = join(stagingIn(task.work), made.staging);
  try {
    const { plan } = openWork(task.work, task.plan);
    mkdirSync(filesIn(staging), { recursive: true });
    const result = await convertInto(staging, plan, task);
    const files = await describeFiles(filesIn(staging), dirname(plan.name));
    writeOutcome(staging, outcomeOf(plan, result, files));
    return made;
  } catch (error) {
    rmSync(staging, { recursive: true, force: true });
    return errorRecord(error, task.task, task.work);
  }
}

async function convertInto(staging: string, plan: JobPlan, task: JobTask): Promise<ConversionResult> {
  const { job, name, hasReport } = plan;
  const output = join(filesIn(staging), `${basename(name)}.onnx`);
  const reportFolder = hasReport ? join(filesIn(staging), `${basename(name)}.report`) : null;
  const checkpoint = (): void => {
    if (task.stop && Atomics.load(task.stop, 0) !== 0) throw interrupted(name);
  };
  const workshop = openWorkshop({ plan, task, spool: join(staging, 'spool'), checkpoint });
  const progress = (event: ProgressEvent): void =>
    parentPort?.postMessage({ task: task.task, ...event } satisfies TaskProgress, []);
  try {
    const config = { ...job.config, threads: task.threads };
    const result = await convert(
      { model: job.model, output, config, reportFolder, force: true },
      progress,
      workshop,
    );
    return reportFolder ? withFinalPath(result, reportFolder, join(plan.folder, `${name}.onnx`)) : result;
  } finally {
    await workshop.close();
    rmSync(join(staging, 'spool'), { force: true });
  }
}

/** A report names the quantized file as it will be found. */
function withFinalPath(result: ConversionResult, reportFolder: string, path: string): ConversionResult {
  if (!result.report) return result;
  const report = { ...result.report, quantized: { ...result.report.quantized, path } };
  writeReport(report, reportFolder);
  return { ...result, report };
}

async function describeFiles(folder: string, prefix: string): Promise<OutputFile[]> {
  const paths = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .toSorted();
  return Promise.all(
    paths.map(async (path) => ({
      path: join(prefix, path),
      bytes: statSync(join(folder, path)).size,
      sha256: await fileHash(join(folder, path)),
    })),
  );
}

function outcomeOf(
  plan: JobPlan,
  { expertBitsPerWeight, report }: ConversionResult,
  files: OutputFile[],
): JobOutcome {
  return {
    ...unfinished(plan, 'failed', null),
    ...judge(report, plan.job.config.gates),
    files,
    size: { before: plan.size.before, after: modelBytes(files) },
    expertBitsPerWeight,
  };
}

/** Of the model file and the weights beside it. */
function modelBytes(files: readonly OutputFile[]): number {
  const parts = files.filter(({ path }) => path.endsWith('.onnx') || path.endsWith('.onnx.data'));
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}
