import type { Node } from '../../onnx/node.ts';
import { axesOf, positiveAxis } from '../graph/axes.ts';
import { numbersOf } from '../graph/constant.ts';
import { layoutOps } from '../graph/operators.ts';
import type { Shapes } from '../graph/shapes.ts';
import { combination } from './combine.ts';
import type { Evidence } from './describe-layer.ts';

/**
 * Whether a stack of fewer experts than columns is weighed by the first columns alone, cut out of a table of all: what
 * the others decide is no work of the stack.
 */
export function isWeighedByFirst(evidence: Evidence, topK: number | null): boolean {
  const { bank, candidate, facts } = evidence;
  const combined = combination(evidence, topK);
  if (typeof combined === 'string' || !bank.isStacked || combined.weights[0].length !== 1) return false;
  let node = combined.weights[0][0].weight.producer;
  while (node && layoutOps.has(node.opType)) node = node.inputs[0]?.producer ?? null;
  return node?.opType === 'Slice' && keepsFirst(node, candidate.experts, bank.experts.length, facts.shapes);
}

function keepsFirst(node: Node, columns: number, kept: number, shapes: Shapes): boolean {
  const [before, after] = [node.inputs[0], node.outputs[0]].map((value) => shapes.shapeOf(value));
  const starts = node.ints('starts') ?? numbersOf(node.inputs[1]);
  const axes = axesOf(node)?.map((axis) => positiveAxis(axis, before?.length ?? 0));
  const steps = node.inputs[4] ? numbersOf(node.inputs[4]) : [1];
  if (!before || !after || axes?.length !== 1 || starts?.[0] !== 0 || steps?.[0] !== 1) return false;
  return before[axes[0]] === columns && after[axes[0]] === kept;
}
