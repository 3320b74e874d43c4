import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { scalarOf } from '../graph/constant.ts';
import type { Region } from './region.ts';
import { fromInput, fromRouter } from './region.ts';

/** What tells the branches of a layer apart, one number per branch. */
export interface KeyVector {
  keys: number[];
  /** True when the number is a position in the list of experts that some token reached, not an expert. */
  isHitOrdinal: boolean;
}

/**
 * Compares one value per branch by walking back through all of them in step. Where isomorphic branches differ in a
 * constant (Gather index, Equal operand, start of a Slice) or in the output of one node (Split), that difference is the
 * expert. Names are never looked at. Gives every vector of distinct
 * numbers below `limit` that is found.
 */
export function differences(values: readonly Value[], region: Region, limit: number): KeyVector[] {
  const found: KeyVector[] = [];
  const seen = new Set<Value>();
  const visit = (branch: readonly (Value | null)[], consumer: Node | null, index: number): void => {
    const [first, ...others] = branch;
    if (!first || others.every((value) => value === first)) return;
    const constants = branch.map((value) => scalarOf(value));
    if (!constants.includes(null)) {
      if (consumer && isKeyInput(consumer, index, region))
        found.push({ keys: constants as number[], isHitOrdinal: false });
      return;
    }
    if (seen.has(first) || !branch.every((value) => value && (region.colour.get(value) ?? 0) & fromRouter))
      return;
    seen.add(first);
    const nodes = branch.map((value) => value!.producer);
    const [node] = nodes;
    if (!node || !nodes.every((each) => each?.opType === node.opType)) return;
    if (nodes.every((each) => each === node)) {
      found.push({ keys: branch.map((value) => node.outputs.indexOf(value)), isHitOrdinal: isHitList(node) });
      return;
    }
    node.inputs.forEach((_, at) =>
      visit(
        nodes.map((each) => each!.inputs[at] ?? null),
        node,
        at,
      ),
    );
  };
  visit(values, null, 0);
  return found.filter(
    ({ keys }) =>
      new Set(keys).size === keys.length &&
      keys.every((key) => Number.isInteger(key) && key >= 0 && key < limit),
  );
}

function isKeyInput(node: Node, index: number, { colour }: Region): boolean {
  if (node.opType === 'Equal') return true;
  // Constant bounds on the tokens themselves are frozen counts, not experts.
  if (node.inputs[0] && (colour.get(node.inputs[0]) ?? 0) & fromInput) return false;
  // The end of a slice says the same as its start, plus one.
  return index === 1 && ['Gather', 'Slice', 'GatherND', 'GatherElements'].includes(node.opType);
}

/** Split of NonZero: the experts hit by the traced input, in order. */
function isHitList(split: Node): boolean {
  let node: Node | null = split;
  for (let hops = 0; node && hops < 6; hops++) {
    if (node.opType === 'NonZero') return true;
    if (node !== split && !['Transpose', 'Squeeze', 'Reshape', 'Cast'].includes(node.opType)) return false;
    node = node.inputs[0]?.producer ?? null;
  }
  return false;
}
