import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { numbersOf } from '../graph/constant.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { layoutOps } from '../graph/operators.ts';
import { evaluate } from '../graph/scalar-function.ts';
import type { Evidence } from './describe-layer.ts';
import { indexInputs } from './routing-source.ts';

const arithmeticOps = new Set(['Add', 'Sub', 'Mul', 'Div', 'Mod', 'Abs', 'Sign', 'Floor']);
const movingOps = new Set([...layoutOps, 'Gather', 'GatherND', 'Slice', 'Split']);

/**
 * Why an index may pick other experts than those whose columns stand in the table of choices: the graph counts with the
 * columns before it compares, sorts or picks by them, and does not come back to the same numbers. Null where it does, as
 * far as the graph tells.
 */
export function columnProblem(index: Value, table: Value, evidence: Evidence): string | null {
  for (const { value, reader } of readings(index, table, evidence)) {
    const rest = operandsBeside(value, table, evidence.facts);
    if (!rest) continue;
    const columns = columnsHeld(evidence);
    const numbers = columns.map((column) => evaluate(value, new Map([...rest, [table, column]])));
    const keeps = reader?.opType === 'TopK' ? isSortedAlike(numbers, reader) : isSame(numbers, columns);
    if (!keeps) return problemAt(value);
  }
  return null;
}

/** The same of a table of choices that the graph works out from the output of the one TopK or ArgMax behind it. */
export function tableProblem(table: Value, evidence: Evidence): string | null {
  const { bank, candidate } = evidence;
  const choice = choiceBehind(table);
  // Where some columns have no expert of the stack, they are looked into apart.
  if (!choice || choice === table || bank.experts.length < candidate.experts) return null;
  const columns = columnsHeld(evidence);
  const numbers = columns.map((column) => evaluate(table, new Map([[choice, column]])));
  return isSame(numbers, columns) ? null : problemAt(table);
}

/** The output of the one TopK or ArgMax that an index is worked out from, element by element. */
export function choiceBehind(index: Value): Value | null {
  const found = new Set<Value>();
  const seen = new Set([index]);
  for (const value of seen) {
    const node = value.producer;
    if (node?.opType === 'ArgMax' || (node?.opType === 'TopK' && node.outputs[1] === value)) found.add(value);
    else if (seen.size < 64) for (const input of node?.inputs ?? []) if (input) seen.add(input);
  }
  const [table] = found;
  return found.size === 1 ? table : null;
}

function problemAt({ producer, name }: Value): string {
  return `${producer?.name || name} counts with the numbers of chosen experts: they are no longer columns of the router`;
}

/** Columns that have an expert of their own; none where that is not known. */
function columnsHeld({ bank }: Evidence): number[] {
  return bank.experts.flatMap(({ key }) => key ?? []);
}

interface Reading {
  value: Value;
  /** What compares, sorts or picks by the value; null for the index itself. */
  reader: Node | null;
}

/** Where something else than moving and counting is done with values on the way from a table to an index. */
function readings(index: Value, table: Value, evidence: Evidence): Reading[] {
  const found: Reading[] = [{ value: index, reader: null }];
  const seen = new Set([index]);
  for (const value of seen) {
    const node = value === table ? null : value.producer;
    if (!node) continue;
    for (const input of indexInputs(node, evidence)) {
      if (!arithmeticOps.has(node.opType) && !movingOps.has(node.opType))
        found.push({ value: input, reader: node });
      seen.add(input);
    }
  }
  return found;
}

/**
 * What stands beside a table in the expression that counts with it, for the first token; null where nothing is counted.
 * What is not known before the graph runs is left out, so that the expression has no number.
 */
function operandsBeside(value: Value, table: Value, facts: GraphFacts): Map<Value, number> | null {
  const operands = new Map<Value, number>();
  const seen = new Set([value]);
  let counts = false;
  for (const each of seen) {
    const { opType = '', inputs = [] } = each.producer ?? {};
    if (each === table) continue;
    if (facts.isDataless(each)) operands.set(each, firstOf(each, facts));
    else if (movingOps.has(opType)) seen.add(inputs[0]!);
    else if (arithmeticOps.has(opType)) {
      counts = true;
      for (const input of inputs) seen.add(input!);
    }
  }
  return counts && seen.has(table) ? operands : null;
}

/** The first number of a constant or a range, 1 for a size that is not known. */
function firstOf(value: Value, { shapes }: GraphFacts): number {
  const known = (numbersOf(value) ?? shapes.integersOf(value))?.[0];
  const isOne = shapes.shapeOf(value)?.every((dim) => dim === 1) ?? false;
  return known ?? (isOne ? 1 : 0);
}

/** What has no number before the graph runs is left to the comparison of the layer with the file. */
function isSame(numbers: readonly (number | null)[], columns: readonly number[]): boolean {
  return numbers.every((number, at) => number === null || number === columns[at]);
}

/** Whether a sort brings the numbers into the order of the columns. */
function isSortedAlike(numbers: readonly (number | null)[], sort: Node): boolean {
  const sign = sort.int('largest') === 0 ? 1 : -1;
  const known = numbers.filter((number) => number !== null);
  return known.every((number, at) => at === 0 || sign * number > sign * known[at - 1]);
}
