import { globSync } from 'node:fs';
import { Fault } from '../fault.ts';
import { batchJobs, type BatchJob, type BatchModel } from './batch-jobs.ts';
import { batchSchema, type BatchFile } from './batch-schema.ts';
import { givenForAll } from './given-for-all.ts';
import { checkNames } from './job-names.ts';
import { openDocument } from './open-document.ts';
import { configSchema, type Settings } from './schema.ts';
import type { Override } from './set.ts';
import { assertValid, validate } from './validate.ts';

/** A batch with its models found, its recipes read and its jobs written out. */
export interface Batch {
  /** Folder that receives the results. */
  output: string;
  jobs: BatchJob[];
  /** Jobs that run at a time. */
  concurrency: number;
  threads: number | 'auto';
  /** In GB, for all jobs together. */
  memory: number | 'auto';
  stopOnFailure: boolean;
}

/**
 * Reads a batch file and lists its jobs.
 * @throws Fault as {@link openDocument} and {@link validate} do; BATCH_NO_MODEL for a glob without a match;
 *   BATCH_EMPTY when no pair of model and recipe is left; those of {@link checkNames} and
 *   {@link givenForAll}.
 */
export function loadBatch(file: string, overrides: readonly Override[] = []): Batch {
  const document = openDocument(batchSchema, file, overrides);
  const { jobs: concurrency, ...settings } = validate(batchSchema, document);
  const { output, threads, memory, stopOnFailure } = settings;
  assertValid(batchSchema, document);
  const batch = document.value;
  const recipes = Object.entries(batch.recipes).map(([name, recipe]): [string, Settings] => [
    name,
    typeof recipe === 'string' ? readRecipe(recipe) : recipe,
  ]);
  const models = batch.models.flatMap((entry, i) => findModels(entry, document.whereOf(['models', i])));
  const jobs = batchJobs(batch, models, recipes, givenForAll(overrides));
  checkNames(jobs, { file, naming: document.whereOf(['naming']) });
  return { output, concurrency, threads, memory, stopOnFailure, jobs };
}

function readRecipe(file: string): Settings {
  const document = openDocument(configSchema, file);
  assertValid(configSchema, document);
  return document.value;
}

function findModels(entry: BatchFile['models'][number], where: string): BatchModel[] {
  const { path, ...settings } = typeof entry === 'string' ? { path: entry } : entry;
  const found = globSync(path).toSorted();
  if (found.length > 0) return found.map((model) => ({ path: model, settings }));
  const what = `no file matches ${path}`;
  throw new Fault({ code: 'BATCH_NO_MODEL', what, where, remedy: 'correct the path or the glob' });
}
