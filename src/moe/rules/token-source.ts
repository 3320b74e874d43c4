import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { onlyCut } from '../graph/cuts.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasRoot, layoutOps, layoutRoot } from '../graph/operators.ts';
import type { Evidence } from './describe-layer.ts';
import type { ExpertBank } from './expert-bank.ts';
import { fromInput, fromRouter } from './region.ts';
import type { Slots } from './slots.ts';
import { placeAmong, slotsOf } from './slots.ts';

/** What the experts read, and what the routing does to it before. */
export interface TokenSource {
  /** What the experts read, before tokens are picked. */
  value: Value;
  /** The index that picks tokens, if any. */
  index: Value | null;
  /** The slots of limited number that tokens are put into by a matrix of zeros and ones, if any. */
  slots: Slots | null;
  /** The routing weight that the tokens are multiplied by, if any. */
  scale: Value | null;
}

/** Said of a file that can compute nothing but what it was traced with, which its user should know. */
export const frozenTokens =
  'the file sends a fixed number of tokens to each expert: it computes wrong results for inputs other than the traced one';

/** Walks back from what the first linears read to the layer's input. */
export function tokenSource(evidence: Evidence): TokenSource | string {
  const { bank, region, facts } = evidence;
  let value = bank.branches[0].up.linears[0].input;
  const found: TokenSource = { value, index: null, slots: null, scale: null };
  const bits = (each: Value | null | undefined): number => (each && region.colour.get(each)) ?? 0;
  for (;;) {
    const node = value.producer;
    if (!node || region.aliases.has(value) || !region.colour.has(value)) break;
    const [data, second] = node.inputs;
    const slots = found.slots ? null : slotsOf(node, region);
    if (isFrozen(node, bits) && !cutsExperts(value, bank, facts)) return frozenTokens;
    if (layoutOps.has(node.opType) || node.opType === 'Slice' || node.opType === 'Split') value = data!;
    else if ((node.opType === 'Gather' || node.opType === 'GatherND') && bits(second) === fromRouter) {
      if (found.index) return `${node.name} picks tokens a second time`;
      found.index = second!;
      value = data!;
    } else if (node.opType === 'Mul' && node.inputs.some((input) => bits(input) === fromRouter)) {
      found.scale = node.inputs.find((input) => bits(input) === fromRouter)!;
      value = node.inputs.find((input) => bits(input) & fromInput)!;
    } else if (slots) {
      found.slots = slots;
      value = node.inputs.find((input) => bits(input) & fromInput)!;
    } else if (!found.slots && placeAmong(bank.experts.length, value, facts) !== null) {
      value = data!;
    } else if (bits(value) & fromRouter) return `${node.name || node.opType} mixes tokens before the experts`;
    else break;
  }
  return placeProblem(evidence, found) ?? { ...found, value: aliasRoot(value) };
}

/** Whether experts read places of a table that are not their own slots. */
function placeProblem({ bank, facts }: Evidence, { slots }: TokenSource): string | null {
  const { branches, experts, isStacked } = bank;
  for (const [at, { up }] of branches.entries()) {
    const [{ node, input }] = up.linears;
    const root = layoutRoot(input);
    const place = placeAmong(experts.length, root, facts);
    const own = slots && !isStacked ? experts[at].key : null;
    // Cuts of sorted tokens are looked into elsewhere.
    const isOther = slots ? place !== own : place !== null && root.producer?.opType === 'Gather';
    if (isOther) return `${node.name || node.opType} reads slots that are not those of its expert`;
  }
  return null;
}

/** A cut through sorted tokens at places that do not depend on the routing. */
function isFrozen({ opType, inputs }: Node, bits: (value: Value | null | undefined) => number): boolean {
  if (!(bits(inputs[0]) & fromRouter)) return false;
  const bounds = opType === 'Slice' ? inputs.slice(1, 3) : [inputs[1]];
  return (opType === 'Slice' || opType === 'Split') && bounds.every((value) => bits(value) === 0);
}

/** A cut along an axis of experts, which has one place for each. */
function cutsExperts(value: Value, { experts }: ExpertBank, { shapes }: GraphFacts): boolean {
  return onlyCut(value, shapes)?.size === experts.length;
}
