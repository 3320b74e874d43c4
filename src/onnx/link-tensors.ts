import { parse, relative, resolve, sep } from 'node:path';
import type { Model } from './model.ts';
import type { Placed } from './save-model.ts';
import { externalHeader } from './save-model.ts';
import type { Tensor } from './tensor.ts';
import { isTyped } from './tensor.ts';

/** A file is mapped by a call for each tensor, so that small ones are copied. */
const linkedFrom = 1 << 16;

/**
 * The large constants of a model that stand in files, as external data there: a session maps them and nobody copies
 * them. Locations are relative to `root`, a root of the file system, so that several folders can be named.
 */
export function linkTensors({ graph }: Model, root: string): Placed {
  const placed: Placed = new Map();
  for (const { tensor } of graph.constants) {
    if (!tensor || !isLarge(tensor)) continue;
    const { path, offset } = tensor.source.place!;
    const file = resolve(path);
    if (parse(file).root !== root) continue;
    placed.set(tensor, externalHeader(tensor, relative(root, file).split(sep).join('/'), offset));
  }
  return placed;
}

function isLarge(tensor: Tensor): boolean {
  const { place, byteLength } = tensor.source;
  return !!place && byteLength >= linkedFrom && !isTyped(tensor);
}
