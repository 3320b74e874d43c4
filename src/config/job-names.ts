import { isAbsolute, normalize, sep } from 'node:path';
import { Fault } from '../fault.ts';
import type { BatchJob } from './batch-jobs.ts';

/** Folder in the output folder where runs keep what is theirs. */
export const workFolder = '.moeq';

/**
 * Jobs must have names of their own, by which results stay in the output folder and out of the work folder.
 * @param file names the batch in Faults, and `naming` the place of its key.
 * @throws Fault BATCH_EMPTY without a job, BATCH_NAME when two have one name, CONFIG_VALUE for one that leads elsewhere.
 */
export function checkNames(
  jobs: readonly BatchJob[],
  { file, naming }: Record<'file' | 'naming', string>,
): void {
  if (jobs.length === 0) {
    const remedy = 'loosen include and exclude';
    throw new Fault({ code: 'BATCH_EMPTY', what: 'the batch has no job', where: file, remedy });
  }
  const stray = jobs.find(({ name }) => leadsElsewhere(name));
  if (stray) throw strayName(stray, naming);
  const first = new Map<string, BatchJob>();
  for (const job of jobs) {
    const other = first.get(job.name);
    if (other) throw clash(job, other, file);
    first.set(job.name, job);
  }
}

function clash(job: BatchJob, other: BatchJob, file: string): Fault {
  return new Fault({
    code: 'BATCH_NAME',
    what: `two jobs would be named ${job.name}`,
    where: file,
    why: `${other.model} with ${other.recipe}, and ${job.model} with ${job.recipe}`,
    remedy: 'tell them apart by naming, for example "{folder}.{model}.{recipe}"',
  });
}

/** A folder of that name may be the work folder also where it is written in capitals. */
function leadsElsewhere(name: string): boolean {
  const [first, ...below] = normalize(name).split(sep);
  return isAbsolute(name) || first === '..' || (below.length > 0 && first.toLowerCase() === workFolder);
}

function strayName({ name, model, recipe }: BatchJob, where: string): Fault {
  return new Fault({
    code: 'CONFIG_VALUE',
    what: `naming cannot name a job ${name}`,
    where,
    why: `${model} with ${recipe} would be written outside of the output folder, or into ${workFolder} in it`,
    remedy:
      'give a name without a folder, or with folders of the output folder, such as "{folder}/{model}.{recipe}"',
  });
}
