import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { isConstant } from '../graph/constant.ts';
import { onlyCut } from '../graph/cuts.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasRoot, isShapeInput, layoutOps } from '../graph/operators.ts';
import type { Evidence } from './describe-layer.ts';
import type { ExpertBank } from './expert-bank.ts';
import type { Region } from './region.ts';
import { fromInput, fromRouter } from './region.ts';

/** What the experts read, and what the routing does to it before. */
export interface TokenSource {
  /** What the experts read, before tokens are picked. */
  value: Value;
  /** The index that picks tokens, if any. */
  index: Value | null;
  /** True when tokens are put into slots of limited number by a matrix of zeros and ones. */
  isDispatched: boolean;
  /** The routing weight that the tokens are multiplied by, if any. */
  scale: Value | null;
}

/** Said of a file that can compute nothing but what it was traced with, which its user should know. */
export const frozenTokens =
  'the file sends a fixed number of tokens to each expert: it computes wrong results for inputs other than the traced one';

/** Walks back from what the first linears read to the layer's input. */
export function tokenSource({ bank, region, facts }: Evidence): TokenSource | string {
  let value = bank.branches[0].up.linears[0].input;
  const found: TokenSource = { value, index: null, isDispatched: false, scale: null };
  const bits = (each: Value | null | undefined): number => (each && region.colour.get(each)) ?? 0;
  for (;;) {
    const node = value.producer;
    if (!node || region.aliases.has(value) || !region.colour.has(value)) break;
    const [data, second] = node.inputs;
    if (isFrozen(node, bits) && !cutsExperts(value, bank, facts)) return frozenTokens;
    if (layoutOps.has(node.opType) || node.opType === 'Slice' || node.opType === 'Split') value = data!;
    else if ((node.opType === 'Gather' || node.opType === 'GatherND') && bits(second) === fromRouter) {
      if (found.index) return `${node.name} picks tokens a second time`;
      found.index = second!;
      value = data!;
    } else if (node.opType === 'Mul' && node.inputs.some((input) => bits(input) === fromRouter)) {
      found.scale = node.inputs.find((input) => bits(input) === fromRouter)!;
      value = node.inputs.find((input) => bits(input) & fromInput)!;
    } else if (isDispatch(node, region) && !found.isDispatched) {
      found.isDispatched = true;
      value = node.inputs.find((input) => bits(input) & fromInput)!;
    } else if (bits(value) & fromRouter) return `${node.name || node.opType} mixes tokens before the experts`;
    else break;
  }
  return { ...found, value: aliasRoot(value) };
}

/** A product of the tokens with a matrix that the routing makes by comparisons alone. */
function isDispatch(node: Node, { colour }: Region): boolean {
  if (!['Einsum', 'MatMul', 'FusedMatMul'].includes(node.opType)) return false;
  const routing = node.inputs.filter((input) => input && colour.get(input) === fromRouter);
  return node.inputs.length === 2 && routing.length === 1 && isDiscrete(routing[0]!, 0);
}

const comparisons = new Set([
  'Equal',
  'Less',
  'LessOrEqual',
  'Greater',
  'GreaterOrEqual',
  'And',
  'Or',
  'Not',
  'OneHot',
  'Xor',
]);
const discreteOps = new Set([
  ...layoutOps,
  'Mul',
  'Einsum',
  'MatMul',
  'Where',
  'ReduceSum',
  'ReduceMax',
  'Max',
  'Clip',
]);

/** True for tables of zeros and ones: whatever made them, a comparison stood last before the arithmetic. */
function isDiscrete(value: Value, depth: number): boolean {
  const node = value.producer;
  if (isConstant(value)) return true;
  if (!node || depth > 24) return false;
  if (comparisons.has(node.opType)) return true;
  return (
    discreteOps.has(node.opType) &&
    node.inputs.every((input, at) => !input || isShapeInput(node, at) || isDiscrete(input, depth + 1))
  );
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
