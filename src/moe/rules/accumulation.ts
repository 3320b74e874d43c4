import type { Node } from '../../onnx/node.ts';
import type { Use, Value } from '../../onnx/value.ts';
import { scalarOf } from '../graph/constant.ts';
import { dataUses } from '../graph/data-uses.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasOps, aliasRoot } from '../graph/operators.ts';
import { comparisonOf, isMadeToFit, maskOf } from './mask-places.ts';

/** Rows that are taken from a table, added to and written back: `table[rows] += addend`. */
export interface Accumulation {
  add: Node;
  table: Value;
  rows: Value;
  addend: Value;
  output: Value;
}

/**
 * Reads `results[rows] += outputs` as exporters write it: a scatter that overwrites what a gather of the same rows of the
 * same table had read, with something added to it. That is a sum only where no row comes twice. `add` is the addition.
 */
export function accumulationAt(add: Node, facts: GraphFacts): Accumulation | null {
  const scatter = scatterOf(add, facts);
  const [table, rows] = scatter?.inputs ?? [];
  const output = scatter?.outputs[0];
  if (!scatter || !table || !rows || !output) return null;
  const addends = add.inputs.filter((input) => input && !isReadFrom(input, scatter, facts));
  const [addend] = addends;
  return addend && addends.length === 1 && comeOnce(rows, facts)
    ? { add, table, rows, addend, output }
    : null;
}

/** The same, found from the table, which nothing else may read than the gather and the scatter. */
export function accumulationOn(table: Value, uses: readonly Use[], facts: GraphFacts): Accumulation | null {
  if (uses.length !== 2 || uses.some(({ index }) => index !== 0)) return null;
  const gathers = uses.map(({ node }) => node).filter(({ opType }) => opType.startsWith('Gather'));
  const add = gathers.length === 1 ? onlyUse(gathers[0].outputs[0]!)?.node : null;
  const found = add?.opType === 'Add' ? accumulationAt(add, facts) : null;
  return found?.table === table && uses.some(({ node }) => node === found.output.producer) ? found : null;
}

/** The scatter that overwrites rows by a sum, however the sum is reshaped on its way. */
function scatterOf({ outputs: [sum] }: Node, { shapes }: GraphFacts): Node | null {
  const isMoved = ({ node, index }: Use): boolean =>
    index === 0 && (aliasOps.has(node.opType) || node.opType === 'Expand' || isMadeToFit(node, shapes));
  let use = onlyUse(sum!);
  while (use && isMoved(use)) use = onlyUse(use.node.outputs[0]!);
  if (use?.index !== 2 || use.node.opType !== 'ScatterND') return null;
  return (use.node.string('reduction') ?? 'none') === 'none' ? use.node : null;
}

/** The one reader of a value, apart from those that ask for its shape; of an output of the graph there is none. */
function onlyUse(value: Value): Use | null {
  const uses = dataUses(value);
  return uses.length === 1 ? uses[0] : null;
}

/** True for the rows, read for this addition alone, that a scatter writes to. */
function isReadFrom(value: Value, scatter: Node, facts: GraphFacts): boolean {
  const node = value.producer;
  const [table, rows] = node?.inputs ?? [];
  if (!node || !rows || table !== scatter.inputs[0] || !onlyUse(value)) return false;
  const written = scatter.inputs[1]!;
  const isNumber = facts.shapes.shapeOf(written)?.at(-1) === 1 && aliasRoot(rows) === aliasRoot(written);
  const mask = maskOf(rows, facts.shapes);
  const isSameMask = mask !== null && mask === maskOf(written, facts.shapes);
  if (node.opType === 'GatherND')
    return (node.int('batch_dims') ?? 0) === 0 && (rows === written || isSameMask);
  return node.opType === 'Gather' && (node.int('axis') ?? 0) === 0 && isNumber;
}

/** True for the places in a mask, or of the tokens that chose one expert, which no token does twice. */
function comeOnce(rows: Value, { shapes }: GraphFacts): boolean {
  if (maskOf(rows, shapes)) return true;
  const places = originOf(rows);
  const mask = places.producer?.opType === 'NonZero' ? places.producer.inputs[0]! : null;
  if (!mask || shapes.shapeOf(mask)?.length === 1) return mask !== null;
  const choice = comparisonOf(mask)?.choice;
  return choice?.producer?.opType === 'TopK' && choice.producer.outputs[1] === choice;
}

/** What is picked from positions keeps each of them at most once. */
function isMove(node: Node): boolean {
  if (node.opType === 'Gather') return scalarOf(node.inputs[1]) !== null;
  return aliasOps.has(node.opType) || ['Transpose', 'Split', 'Slice'].includes(node.opType);
}

function originOf(value: Value): Value {
  let origin = value;
  while (origin.producer && isMove(origin.producer) && origin.producer.inputs[0])
    origin = origin.producer.inputs[0];
  return origin;
}
