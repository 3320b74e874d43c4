import { existsSync, statSync } from 'node:fs';
import { isFault } from '../fault.ts';
import { openModel } from '../onnx/open-model.ts';

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
export function filesOfWeights(model: string): string[] {
  const { constants } = openModel(model).graph;
  return [...new Set([...constants].map(({ tensor }) => tensor!.source.place?.path ?? model))];
}

/** Whatever names and links lead to it. */
export function isSameFile(one: string, other: string): boolean {
  const [a, b] = [statSync(one), statSync(other)];
  return a.ino === b.ino && a.dev === b.dev;
}
