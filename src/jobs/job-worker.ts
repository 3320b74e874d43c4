import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { Fault } from '../fault.ts';
import { convert, writeReport } from '../pipeline/convert.ts';
import type { ConversionResult } from '../pipeline/convert.ts';
import type { ProgressEvent } from '../pipeline/progress.ts';
import { contentKey } from './content-key.ts';
import { errorRecord } from './error-record.ts';
import { fileHash } from './file-identity.ts';
import type { JobOutcome, OutputFile } from './job-outcome.ts';
import { judge, unfinished } from './job-outcome.ts';
import { writeRecord } from './job-record.ts';
import type { JobPlan } from './plan.ts';
import { openWorkshop } from './stored-workshop.ts';

/** One job for a thread. */
export interface JobTask {
  plan: JobPlan;
  work: string;
  threads: number;
  memory: number;
  /** Set to 1 to stop at the next item. */
  stop: Int32Array;
}

/** What a job's thread tells while it is at work. */
export interface JobProgress extends ProgressEvent {
  job: string;
}

/**
 * Entry of a thread that does one job: converts into a folder of its own and moves the finished files to the output.
 * Never throws: what went wrong is in the outcome.
 */
export default async function runJob(task: JobTask): Promise<JobOutcome> {
  const { plan, work } = task;
  const staging = join(work, 'staging', contentKey(plan.name).slice(0, 16));
  const started = performance.now();
  try {
    rmSync(staging, { recursive: true, force: true });
    mkdirSync(staging, { recursive: true });
    const result = await convertInto(staging, task);
    const files = await describeFiles(join(staging, 'files'), dirname(plan.name));
    const outcome = outcomeOf(plan, result, files, (performance.now() - started) / 1000);
    writeRecord(work, plan.name, { key: plan.key, outcome });
    publish(join(staging, 'files'), plan, files);
    rmSync(staging, { recursive: true, force: true });
    return outcome;
  } catch (error) {
    rmSync(staging, { recursive: true, force: true });
    const seconds = (performance.now() - started) / 1000;
    return { ...unfinished(jobOf(plan), 'failed', errorRecord(error, plan.job.model, plan.folder)), seconds };
  }
}

async function convertInto(
  staging: string,
  { plan, work, threads, memory, stop }: JobTask,
): Promise<ConversionResult> {
  const { job, name, hasReport } = plan;
  const output = join(staging, 'files', `${basename(name)}.onnx`);
  const reportFolder = hasReport ? join(staging, 'files', `${basename(name)}.report`) : null;
  mkdirSync(dirname(output));
  const workshop = openWorkshop({
    plan,
    artefacts: join(work, 'artefacts'),
    spool: join(staging, 'spool'),
    threads,
    memory,
    checkpoint: () => {
      if (Atomics.load(stop, 0) !== 0) throw interrupted(name);
    },
  });
  const progress = (event: ProgressEvent): void => parentPort?.postMessage({ job: name, ...event }, []);
  try {
    const config = { ...job.config, threads };
    const result = await convert(
      { model: job.model, output, config, reportFolder, force: true },
      progress,
      workshop,
    );
    return reportFolder ? withFinalPath(result, reportFolder, join(plan.folder, `${name}.onnx`)) : result;
  } finally {
    await workshop.close();
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

/** Moves finished files to their places; the model last, since it is what others look for. */
function publish(from: string, { name, folder }: JobPlan, files: readonly OutputFile[]): void {
  const model = `${name}.onnx`;
  const inOrder = files.toSorted((a, b) => Number(a.path === model) - Number(b.path === model));
  for (const { path } of inOrder) {
    const to = join(folder, path);
    mkdirSync(dirname(to), { recursive: true });
    renameSync(join(from, relative(dirname(name), path)), to);
  }
}

function outcomeOf(
  plan: JobPlan,
  { expertBitsPerWeight, report }: ConversionResult,
  files: OutputFile[],
  seconds: number,
): JobOutcome {
  return {
    ...unfinished(jobOf(plan), 'failed', null),
    ...judge(report, plan.job.config.gates),
    seconds,
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

function jobOf({ name, job: { model, recipe } }: JobPlan): { name: string; model: string; recipe: string } {
  return { name, model, recipe };
}

function interrupted(name: string): Fault {
  return new Fault({
    code: 'INTERRUPTED',
    what: 'the run was stopped before this job was finished',
    where: name,
    remedy: 'run again with --resume: what is finished is kept',
  });
}
