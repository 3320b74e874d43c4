import { join } from 'node:path';
import type { BatchJob } from '../../config/batch-jobs.ts';
import { workFolder } from '../../config/job-names.ts';
import type { Batch } from '../../config/load-batch.ts';
import type { DataRecord } from '../../data/record.ts';
import { tokenizerFile } from '../../data/tokenizer.ts';
import type { RecordReader } from '../../pipeline/open-conversion.ts';
import { openRecords } from '../../pipeline/open-conversion.ts';
import { threadsOf } from '../../runtime/threads-of.ts';
import { errorRecord } from '../error-record.ts';
import { usableMemory } from '../threads/memory-budget.ts';
import { planJob } from './plan-job.ts';
import type { BatchPlan, JobPlan, UnplannedJob } from './plan.ts';

/** Everything a batch would do. A model that cannot be read fails its own jobs only. */
export async function planBatch(batch: Batch): Promise<BatchPlan> {
  const { output, stopOnFailure } = batch;
  const threads = threadsOf(batch.threads);
  const memory = batch.memory === 'auto' ? usableMemory() : batch.memory * 1e9;
  const jobs: BatchPlan['jobs'] = [];
  const read = rememberingReader();
  for (const job of batch.jobs) jobs.push(await planOrFault(job, output, read));
  // Every job has at least one thread, and all of them together no more than there are.
  const concurrency = Math.min(batch.concurrency, jobs.length, threads);
  return { output, work: join(output, workFolder), concurrency, threads, memory, stopOnFailure, jobs };
}

/** The jobs of a batch share their records: each file is read once by each tokenizer. */
function rememberingReader(): RecordReader {
  const known = new Map<string, readonly DataRecord[]>();
  return (path, model, config) => {
    const key = JSON.stringify([path, tokenizerFile(config.tokenizer, model)]);
    const records = known.get(key) ?? openRecords(path, model, config);
    known.set(key, records);
    return records;
  };
}

async function planOrFault(
  job: BatchJob,
  output: string,
  read: RecordReader,
): Promise<JobPlan | UnplannedJob> {
  try {
    return await planJob(job, output, read);
  } catch (error) {
    return { name: job.name, job, fault: errorRecord(error, job.model, output) };
  }
}

/** True for a job whose work is known. */
export function isPlanned(job: JobPlan | UnplannedJob): job is JobPlan {
  return 'items' in job;
}
