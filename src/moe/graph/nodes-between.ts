import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';

/** The nodes on all ways from some values to a later one, in an order in which each stands behind what it reads. */
export function nodesBetween(sorted: readonly Node[], entries: Iterable<Value>, end: Value): Node[] {
  const reached = new Set<Value | null>(entries);
  const last = end.producer ? sorted.indexOf(end.producer) : -1;
  const behind = sorted.slice(0, last + 1).filter(({ inputs, outputs }) => {
    if (!inputs.some((value) => value && reached.has(value))) return false;
    for (const output of outputs) if (output) reached.add(output);
    return true;
  });
  const needed = new Set<Value | null>([end]);
  return behind
    .toReversed()
    .filter(({ inputs, outputs }) => {
      if (!outputs.some((value) => value && needed.has(value))) return false;
      for (const input of inputs) needed.add(input);
      return true;
    })
    .toReversed();
}
