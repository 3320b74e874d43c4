import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { codeOf } from '../../tensor/dtype.ts';
import { positiveAxis } from '../graph/axes.ts';
import { isConstant, scalarOf } from '../graph/constant.ts';
import { onlyCut } from '../graph/cuts.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasRoot, isShapeInput, layoutOps } from '../graph/operators.ts';
import type { Region } from './region.ts';
import { fromRouter } from './region.ts';

/** Places for a limited number of tokens per expert; tokens for which there is none are left out. */
export interface Slots {
  /** The weights of which those that are not zero say which token is in which slot; null where something else says so. */
  weights: Value | null;
}

/** The slots that a product puts tokens into, with a matrix of zeros and ones that the routing makes by counting. */
export function slotsOf(node: Node, { colour }: Region): Slots | null {
  if (!['Einsum', 'MatMul', 'FusedMatMul'].includes(node.opType) || node.inputs.length !== 2) return null;
  const [mask, ...others] = node.inputs.filter((input) => input && colour.get(input) === fromRouter);
  if (!mask || others.length > 0 || !isCounted(mask)) return null;
  const weights = whatIsTrueOf(mask);
  return weights || isDiscrete(mask, 0) ? { weights } : null;
}

/** The one place that a value is cut out of a table with as many places as there are experts. */
export function placeAmong(experts: number, value: Value, { shapes }: GraphFacts): number | null {
  const node = value.producer;
  if (node?.opType === 'Gather') {
    const dims = shapes.shapeOf(node.inputs[0]);
    const isAmong = dims?.[positiveAxis(node.int('axis') ?? 0, dims.length)] === experts;
    return isAmong ? scalarOf(node.inputs[1]) : null;
  }
  const cut = onlyCut(value, shapes);
  return cut?.size === experts && cut.length === 1 ? cut.start : null;
}

/** What a matrix holds the truth values of: where it is not zero. */
function whatIsTrueOf(mask: Value): Value | null {
  let value = mask;
  for (;;) {
    const node = value.producer;
    if (!node || !layoutOps.has(node.opType)) return null;
    value = node.inputs[0]!;
    if (node.opType === 'Cast' && node.int('to') === codeOf('bool')) return aliasRoot(value);
  }
}

/** Whether tokens are numbered before they are put into slots, so that no two come into one. */
function isCounted(mask: Value): boolean {
  const seen = new Set([mask]);
  for (const value of seen) {
    if (value.producer?.opType === 'CumSum') return true;
    if (seen.size < 512) for (const input of value.producer?.inputs ?? []) if (input) seen.add(input);
  }
  return false;
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
