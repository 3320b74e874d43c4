import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { dataUses } from '../graph/data-uses.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { linearRecord } from '../graph/linear-node.ts';
import { aliasRoot, layoutOps } from '../graph/operators.ts';
import type { Linear, SharedExpert } from '../moe-layer.ts';
import type { Branch } from './branch.ts';
import { readBranch } from './branch.ts';
import type { RegionLinear } from './levels.ts';
import type { Region } from './region.ts';
import { fromInput, fromRouter } from './region.ts';

/** A shared expert and the nodes that read the layer's input for it. */
export interface FoundShared {
  shared: SharedExpert;
  readers: Node[];
}

/**
 * Experts that every token visits: chains of linears that read the layer's input, that the routing does not touch, and
 * whose output is added to the routed sum.
 */
export function sharedExperts(
  linears: readonly RegionLinear[],
  region: Region,
  facts: GraphFacts,
): FoundShared[] {
  const plain = linears.filter((linear) => !linear.isRouted && !linear.isBeyond);
  return plain
    .filter(
      (down) =>
        down.origins.length > 0 &&
        down.origins.every((first) => !first.isRouted && readsInput(first, region)),
    )
    .flatMap((down) => {
      const branch = readBranch(down, facts);
      const joined = branch && branch.up.linears.length === 1 && joinOf(down, region, plain);
      return joined ? [describe(branch, joined.sigmoidGate)] : [];
    });
}

function readsInput(first: RegionLinear, { input, aliases }: Region): boolean {
  return aliases.has(first.input) || aliasRoot(first.input) === input;
}

/** Follows the output to the addition with something routed, past a multiplication by a sigmoid gate. */
function joinOf(
  down: RegionLinear,
  region: Region,
  plain: readonly RegionLinear[],
): { sigmoidGate: RegionLinear | null } | null {
  const bits = (value: Value | null): number => (value && region.colour.get(value)) ?? 0;
  let value = down.output;
  let sigmoidGate: RegionLinear | null = null;
  for (let hops = 0; hops < 12; hops++) {
    const [use, ...others] = dataUses(value);
    if (!use || others.length > 0) return null;
    const { node } = use;
    if (region.exits.includes(node)) return meetsRoutedExit(node, region) ? { sigmoidGate } : null;
    const rest = node.inputs.filter((input): input is Value => input !== null && input !== value);
    if (node.opType === 'Add' || node.opType === 'Sum' || node.opType === 'GatedAdd') {
      if (rest.some((input) => bits(input) & fromRouter))
        return { sigmoidGate: sigmoidGate ?? gateAmong(rest, plain) };
    } else if (node.opType === 'Mul') sigmoidGate ??= gateAmong(rest, plain);
    else if (!layoutOps.has(node.opType)) return null;
    if (node.opType === 'Mul' && !rest.every((input) => !(bits(input) & fromInput) || sigmoidGate))
      return null;
    value = node.outputs[0]!;
  }
  return null;
}

/** Where shared and routed parts are added to the residual one after the other, in either order. */
function meetsRoutedExit(node: Node, { exits, colour }: Region): boolean {
  const isRouted = (exit: Node): boolean =>
    exit.inputs.some((input) => input && (colour.get(input) ?? 0) & fromRouter);
  const before = node.inputs.map((input) => input && aliasRoot(input).producer);
  const after = node.outputs.flatMap((output) => output?.consumers ?? []);
  return [...before, ...after].some((each) => each && exits.includes(each) && isRouted(each));
}

function gateAmong(values: readonly Value[], plain: readonly RegionLinear[]): RegionLinear | null {
  for (const value of values) {
    let node = aliasRoot(value).producer;
    if (node?.opType === 'Expand') node = aliasRoot(node.inputs[0]!).producer;
    const source = node?.opType === 'Sigmoid' ? aliasRoot(node.inputs[0]!) : value;
    const linear = plain.find(({ out, output }) => out === 1 && output === source);
    if (linear) return linear;
  }
  return null;
}

function describe({ down, gate, up }: Branch, sigmoidGate: RegionLinear | null): FoundShared {
  const record = (leaf: typeof up): Linear => linearRecord(leaf.linears[0], null, leaf.rows);
  const firsts = [up, ...(gate ? [gate] : [])].map(({ linears }) => linears[0].node);
  return {
    shared: {
      intermediate: down.in,
      gate: gate && record(gate),
      up: record(up),
      down: linearRecord(down, null),
      sigmoidGate: sigmoidGate && linearRecord(sigmoidGate, null),
    },
    readers: [...firsts, ...(sigmoidGate ? [sigmoidGate.node] : [])],
  };
}
