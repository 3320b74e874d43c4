import { existsSync, statSync } from 'node:fs';
import type { QuantizeConfig } from '../config/schema.ts';
import { Fault, isFault } from '../fault.ts';
import { openModel } from '../onnx/open-model.ts';
import { isSmall } from './model-size.ts';

interface Permission {
  /** Files that exist may be replaced. */
  force: boolean;
  externalData: QuantizeConfig['output']['externalData'];
}

/**
 * Refuses an output that exists, unless it may be replaced; whatever is forced, no file is replaced that holds the model
 * or weights of it.
 * @throws Fault OUTPUT_EXISTS, and those of opening the model
 */
export function refuseOutput(output: string, model: string, { force, externalData }: Permission): void {
  refuseOverwriting(output, model, force);
  if (!force) refuseWeights(`${output}.data`, model, externalData);
  refuseSpoilingSource(output, model);
}

function refuseOverwriting(output: string, model: string, force: boolean): void {
  if (!existsSync(output)) return;
  const isSource = isSameFile(output, model);
  const isFile = statSync(output).isFile();
  if (force && !isSource && isFile) return;
  throw new Fault({
    code: 'OUTPUT_EXISTS',
    what: isFile ? 'the output file exists already' : 'the output is a folder',
    where: output,
    remedy: isSource
      ? 'write to another file: a model is not converted in place'
      : isFile
        ? 'give another -o, or --force'
        : 'name a file in it',
  });
}

/** Refuses a file where those weights would go that may not stand in the output itself. */
function refuseWeights(path: string, model: string, externalData: Permission['externalData']): void {
  if (externalData === 'never' || !existsSync(path)) return;
  if (externalData === 'auto' && isSmall(openModel(model))) return;
  throw new Fault({
    code: 'OUTPUT_EXISTS',
    what: 'the file that the weights of the output go to exists already',
    where: path,
    remedy: 'give another -o, or --force',
  });
}

/** Weights of the source may lie in files that would be replaced, where it was renamed. */
function refuseSpoilingSource(output: string, model: string): void {
  const written = [output, `${output}.data`].filter((path) => existsSync(path));
  if (written.length === 0) return;
  const read = filesOfWeights(model);
  const spoilt = written.find((path) => read.some((each) => isSameFile(path, each)));
  if (spoilt === undefined) return;
  throw new Fault({
    code: 'OUTPUT_EXISTS',
    what: 'the output would replace a file that holds weights of the model',
    where: spoilt,
    remedy: 'write to another file',
  });
}

/** The file of weights that goes with a model, if it is there and the model reads it; null otherwise. */
export function weightsBeside(model: string): string | null {
  const path = `${model}.data`;
  if (!existsSync(model) || !existsSync(path)) return null;
  try {
    return filesOfWeights(model).some((file) => isSameFile(file, path)) ? path : null;
  } catch (fault) {
    // No model, or one whose weights are gone.
    if (isFault(fault)) return null;
    throw fault;
  }
}

/** The files that hold weights of a model. @throws Fault those of opening it */
function filesOfWeights(model: string): string[] {
  const { constants } = openModel(model).graph;
  return [...new Set([...constants].map(({ tensor }) => tensor!.source.place?.path ?? model))];
}

/** Whatever names and links lead to it. */
function isSameFile(one: string, other: string): boolean {
  const [a, b] = [one, other].map((path) => statSync(path, { throwIfNoEntry: false }));
  return a !== undefined && a.ino === b?.ino && a.dev === b.dev;
}
