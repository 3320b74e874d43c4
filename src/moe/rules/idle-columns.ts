import type { Value } from '../../onnx/value.ts';
import { isZero } from '../graph/constant.ts';
import { onlyCut } from '../graph/cuts.ts';
import { layoutOps, layoutRoot } from '../graph/operators.ts';
import { evaluate } from '../graph/scalar-function.ts';
import type { Boundary } from '../moe-layer.ts';
import { choiceBehind } from './column-numbers.ts';
import { combination } from './combine.ts';
import type { Evidence } from './describe-layer.ts';

/** Columns of a router that choose no expert, and a boundary whose routing tells columns, not places in a stack. */
export interface MaskedColumns {
  columns: number[];
  boundary: Boundary;
}

/**
 * Columns beyond the experts of a stack, as ZAYA has one to skip a layer: where one is chosen, the graph takes some
 * expert of the stack and weighs it with zero. Null unless index and weight show that of every such column, and that
 * every other column chooses the expert of its own number.
 */
export function maskedColumns({ bank, candidate }: Evidence, boundary: Boundary): MaskedColumns | null {
  const { routing } = boundary;
  if (routing.kind !== 'topk') return null;
  const held = new Set(bank.experts.map(({ key }) => key));
  const columns = Array.from({ length: candidate.experts }, (_, column) => column);
  const table = choiceBehind(routing.indices);
  if (!table || held.has(null)) return null;
  // Loops sort and compare by the table of the routing; their index has no number for each column.
  const index = [bank.branches[0].down.view.selector?.index, routing.indices].find(
    (each) => each && evaluate(each, new Map([[table, 0]])) !== null,
  );
  if (!index) return null;
  const others = columns.filter((column) => !held.has(column));
  const isMasked =
    columns.every((column) => !held.has(column) || evaluate(index, new Map([[table, column]])) === column) &&
    others.every((column) => weighsNothing(routing.weights, new Map([[table, column]])));
  return isMasked
    ? { columns: others, boundary: { ...boundary, routing: { ...routing, indices: table } } }
    : null;
}

/** Whether a weight is zero whatever else it is made of. */
function weighsNothing(weight: Value, choice: ReadonlyMap<Value, number>): boolean {
  if (isZero(weight) || evaluate(weight, choice) === 0) return true;
  const { opType = '', inputs = [] } = weight.producer ?? {};
  const [first, ...rest] = inputs.map((input) => input!);
  if (layoutOps.has(opType) || opType === 'Div') return weighsNothing(first, choice);
  if (opType === 'Mul') return [first, ...rest].some((each) => weighsNothing(each, choice));
  const condition = opType === 'Where' ? evaluate(first, choice) : null;
  return condition !== null && weighsNothing(rest[condition ? 0 : 1], choice);
}

/**
 * Whether a stack of fewer experts than columns is weighed by the first columns alone, cut out of a table of all: what
 * the others decide is no work of the stack.
 */
export function isWeighedByFirst(evidence: Evidence, topK: number | null): boolean {
  const { bank, candidate, facts } = evidence;
  const combined = combination(evidence, topK);
  if (typeof combined === 'string' || !bank.isStacked || combined.weights[0].length !== 1) return false;
  const root = layoutRoot(combined.weights[0][0].weight);
  const cut = root.producer?.opType === 'Slice' ? onlyCut(root, facts.shapes) : null;
  const isFirst = cut?.start === 0 && cut.step === 1;
  return isFirst && cut.size === candidate.experts && cut.length === bank.experts.length;
}
