import { closeSync, existsSync, fsyncSync, linkSync, mkdirSync, openSync, renameSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Fault, isFault } from '../fault.ts';
import { temporary, temporaryName } from '../files/temporary.ts';
import type { Model } from './model.ts';
import { weightBytesOf } from './model.ts';
import { requireDefined } from './require-defined.ts';
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

/** A written model that has not taken its place yet. */
export interface StagedModel {
  /** The model file, complete, beside its weights in a folder of its own. */
  path: string;
  /** Has the files put on the disk, while something else is done with them; Fault OUTPUT_FAILED. */
  flush(): Promise<void>;
  /**
   * Moves the files to where they belong, once they are on the disk, and returns their paths there, the model first;
   * Fault OUTPUT_FAILED, or OUTPUT_EXISTS if somebody else wrote them meanwhile.
   */
  publish(): string[];
  /** Removes what was not published. */
  discard(): void;
}

/**
 * Writes a model so that its files appear complete or not at all.
 * @returns the paths that were written, the model first
 * @throws Fault OUTPUT_EXISTS, OUTPUT_TOO_LARGE, OUTPUT_FAILED
 */
export function writeModel(model: Model, path: string, options: WriteOptions = {}): string[] {
  return stageModel(model, path, options).publish();
}

/**
 * Writes a model into a temporary folder beside `path`, where it can be tried before it is published under that name:
 * files that are there stay until then. Peak memory is one chunk of 16 MiB plus the graph.
 * @throws Fault OUTPUT_EXISTS, OUTPUT_TOO_LARGE, OUTPUT_FAILED; nothing is left then
 */
export function stageModel(
  model: Model,
  path: string,
  { externalData, force = false }: WriteOptions = {},
): StagedModel {
  requireDefined(model.graph);
  const paths = filesFor(path, weightBytesOf(model), externalData);
  if (!force) paths.forEach(refuseExisting);
  const folder = join(dirname(path), `.${temporaryName(path)}`);
  const staged = paths.map((each) => join(folder, basename(each)));
  const discard = temporary(folder);
  const guard = (work: () => void): void => {
    try {
      work();
    } catch (cause) {
      discard();
      throw isFault(cause) ? cause : failed(path, cause);
    }
  };
  guard(() => {
    mkdirSync(folder);
    saveModel(model, staged[0], { externalData: staged[1] ?? null });
  });
  return {
    path: staged[0],
    discard,
    async flush() {
      await Promise.all(staged.map(flushFile)).catch((cause: unknown) => {
        throw failed(path, cause);
      });
    },
    publish() {
      guard(() => moveAll(staged, paths, force));
      discard();
      return paths;
    },
  };
}

/** The files of a model, with so many bytes of weights: itself first. */
function filesFor(path: string, size: number, externalData = size > externalAbove): string[] {
  if (externalData) return [path, `${path}.data`];
  if (size > largestFile) throw tooLarge(path, size);
  return [path];
}

/** Moves files to where they belong, once they are on the disk. */
function moveAll(staged: readonly string[], paths: readonly string[], force: boolean): void {
  staged.forEach(flushNow);
  // Somebody else may have written them meanwhile.
  if (!force) paths.forEach(refuseExisting);
  const move = force ? renameSync : moveToFree;
  // The weights before the model that names them.
  for (const [index, path] of [...paths.entries()].toReversed()) move(staged[index], path);
}

async function flushFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Next to nothing for a file that was flushed. */
function flushNow(path: string): void {
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** A link fails where somebody took the name a moment ago; a rename would replace what they wrote. */
function moveToFree(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    refuseExisting(to);
    // File systems without links.
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
    renameSync(from, to);
  }
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
  return Fault.because(cause, {
    code: 'OUTPUT_FAILED',
    what: 'the model could not be written',
    where: path,
    remedy: 'check the folder, its permissions and the free space',
  });
}
