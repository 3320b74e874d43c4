import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { codeOf } from '../../tensor/dtype.ts';
import { positiveAxis } from '../graph/axes.ts';
import { isConstant, scalarOf } from '../graph/constant.ts';
import { onlyCut } from '../graph/cuts.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { isNonNegative } from '../graph/non-negative.ts';
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
  const truth = truthBehind(mask);
  if (!truth) return isDiscrete(mask, 0) ? { weights: null } : null;
  const weights = truth.inputs[0]!;
  // A slot with a weight below zero counts, and would hold no token.
  return truth.opType === 'Cast' || isNonNegative(weights) ? { weights: aliasRoot(weights) } : null;
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

/** What tells, if anything does, which numbers are not zero, or above it. */
function truthBehind(mask: Value): Node | null {
  let node = mask.producer;
  while (node && layoutOps.has(node.opType) && !isTruth(node)) node = node.inputs[0]?.producer ?? null;
  return node && isTruth(node) ? node : null;
}

function isTruth(node: Node): boolean {
  if (node.opType === 'Cast') return node.int('to') === codeOf('bool');
  return node.opType === 'Greater' && scalarOf(node.inputs[1]) === 0;
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
