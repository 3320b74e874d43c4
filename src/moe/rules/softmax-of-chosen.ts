import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { positiveAxis } from '../graph/axes.ts';
import { isFilledWith } from '../graph/constant.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasRoot } from '../graph/operators.ts';
import { columnProblem } from './column-numbers.ts';
import type { Evidence } from './describe-layer.ts';
import { indexSource } from './routing-source.ts';

/**
 * Whether weights of all experts are a softmax of logits that were scattered into −∞ by the very choices behind an index:
 * then all others weigh nothing, and the tokens that the index leaves out are no loss.
 */
export function isSoftmaxOfChosen(weights: Value, tokenIndex: Value, evidence: Evidence): boolean {
  const { region, facts } = evidence;
  const softmax = weights.producer?.opType === 'Softmax' ? weights.producer : null;
  const scatter = softmax && aliasRoot(softmax.inputs[0]!).producer;
  const [base, indices] = scatter?.inputs ?? [];
  if (scatter?.opType !== 'ScatterElements' || !isFilledWith(-Infinity, base!)) return false;
  const table = aliasRoot(indices!);
  const isRow = isLastAxis(softmax!, facts) && isLastAxis(scatter, facts);
  const isSame = indexSource(tokenIndex, region, facts) === table;
  return isRow && isSame && !columnProblem(tokenIndex, table, evidence);
}

function isLastAxis(node: Node, { shapes }: GraphFacts): boolean {
  const axis = node.int('axis');
  const rank = shapes.shapeOf(node.outputs[0])?.length;
  return axis !== undefined && rank !== undefined && positiveAxis(axis, rank) === rank - 1;
}
