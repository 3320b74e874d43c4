import { existsSync, renameSync, rmSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { Fault, isFault } from '../fault.ts';
import type { Model } from './model.ts';
import { weightBytesOf } from './model.ts';
import { saveModel } from './save-model.ts';

export interface WriteOptions {
  /** Weights in `<name>.data` beside the model; by default when they take more than 1 GB. */
  externalData?: boolean;
  /** Replaces files that exist. */
  force?: boolean;
}

const externalAbove = 1e9;
/** Protobuf readers, ONNX Runtime's among them, refuse larger messages. */
const largestFile = 2 ** 31 - 1;

/**
 * Writes a model so that its files appear complete or not at all: they are written under temporary names in the same
 * folder, and renamed when they are on the disk, the weights before the model that names them. Peak memory is one
 * chunk of 16 MiB plus the graph.
 * @returns the paths that were written, the model first
 * @throws Fault OUTPUT_EXISTS, OUTPUT_TOO_LARGE, OUTPUT_FAILED
 */
export function writeModel(
  model: Model,
  path: string,
  { externalData, force = false }: WriteOptions = {},
): string[] {
  const size = weightBytesOf(model);
  const isExternal = externalData ?? size > externalAbove;
  if (!isExternal && size > largestFile) throw tooLarge(path, size);
  const paths = isExternal ? [path, `${path}.data`] : [path];
  if (!force) for (const each of paths) refuseExisting(each);
  const temporary = paths.map(temporaryName);
  try {
    saveModel(model, temporary[0], {
      externalData: temporary[1] ?? null,
      location: `${basename(path)}.data`,
    });
    for (let index = paths.length - 1; index >= 0; index--) renameSync(temporary[index], paths[index]);
  } catch (cause) {
    throw isFault(cause) ? cause : failed(path, cause);
  } finally {
    for (const each of temporary) rmSync(each, { force: true });
  }
  return paths;
}

function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
}

function refuseExisting(path: string): void {
  if (!existsSync(path)) return;
  throw new Fault({
    code: 'OUTPUT_EXISTS',
    what: 'the output file exists already',
    where: path,
    remedy: 'choose another name, or allow overwriting with --force',
  });
}

function tooLarge(path: string, size: number): Fault {
  return new Fault({
    code: 'OUTPUT_TOO_LARGE',
    what: `${size} bytes of weights do not fit into one model file`,
    where: path,
    why: 'protobuf messages end at 2 GiB',
    remedy: 'write the weights as external data',
  });
}

function failed(path: string, cause: unknown): Fault {
  return new Fault(
    {
      code: 'OUTPUT_FAILED',
      what: 'the model could not be written',
      where: path,
      why: cause instanceof Error ? cause.message : String(cause),
      remedy: 'check the folder, its permissions and the free space',
    },
    { cause },
  );
}
