import { existsSync, statSync } from 'node:fs';
import { Fault } from '../fault.ts';
import { openModel } from '../onnx/open-model.ts';

/**
 * Refuses an output that exists, unless it may be replaced; whatever is forced, no file is replaced that holds the model
 * or weights of it.
 * @throws Fault OUTPUT_EXISTS, and those of opening the model
 */
export function refuseOutput(output: string, model: string, force: boolean): void {
  refuseOverwriting(output, model, force);
  refuseSpoilingSource(output, model);
}

function refuseOverwriting(output: string, model: string, force: boolean): void {
  if (!existsSync(output)) return;
  const isSource = isSameFile(output, model);
  if (force && !isSource) return;
  throw new Fault({
    code: 'OUTPUT_EXISTS',
    what: 'the output file exists already',
    where: output,
    remedy: isSource
      ? 'write to another file: a model is not converted in place'
      : 'give another -o, or --force',
  });
}

/** Weights of the source may lie in files that would be replaced, where it was renamed. */
function refuseSpoilingSource(output: string, model: string): void {
  const written = [output, `${output}.data`].filter((path) => existsSync(path));
  if (written.length === 0) return;
  const { graph } = openModel(model);
  const read = new Set([...graph.constants].map(({ tensor }) => tensor!.source.place?.path ?? model));
  const spoilt = written.find((path) => [...read].some((each) => isSameFile(path, each)));
  if (spoilt === undefined) return;
  throw new Fault({
    code: 'OUTPUT_EXISTS',
    what: 'the output would replace a file that holds weights of the model',
    where: spoilt,
    remedy: 'write to another file',
  });
}

/** Whatever names and links lead to it. */
function isSameFile(one: string, other: string): boolean {
  const [a, b] = [statSync(one), statSync(other)];
  return a.ino === b.ino && a.dev === b.dev;
}
