import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasRoot, isShapeInput, shapeOps } from '../graph/operators.ts';
import type { RouterCandidate } from './anchor.ts';
import { linearSources } from './anchor.ts';
import type { HeldColumns } from './columns-held.ts';
import { columnsHeld, keepingColumns } from './columns-held.ts';

const passing = new Set([...keepingColumns, 'Slice', 'Split', 'Concat', 'GatherElements']);
/** How many values are looked at. */
const searched = 128;

/**
 * A router whose last columns no selection sees, as in Inkling: they weigh shared experts, which every token visits. It is
 * taken for one of the columns before them, and values that hold the others (`apart`) for no routing. Where nothing of
 * that kind is found, the candidate stays as it is.
 */
export function withoutApartColumns(candidate: RouterCandidate, facts: GraphFacts): RouterCandidate {
  const experts = columnsChosenFrom(candidate, facts);
  if (experts === null) return candidate;
  const cuts = cutsBehind(candidate.logits).map((value) => ({
    value,
    columns: columnsHeld(value, candidate, facts.shapes),
  }));
  const logits = cuts.find(
    ({ value, columns }) => isCutOf(value, candidate.logits) && isFirst(columns, experts),
  );
  const apart = cuts
    .filter(({ columns }) => columns?.every((column) => column !== null && column >= experts))
    .filter(({ value }) => meetsTokens(value, candidate, facts));
  if (!logits || apart.length === 0) return candidate;
  return { ...candidate, experts, logits: logits.value, apart: new Set(apart.map(({ value }) => value)) };
}

/** How many columns the selections see; null where it is all of them, or not known. */
function columnsChosenFrom({ selections, experts }: RouterCandidate, { shapes }: GraphFacts): number | null {
  const widths = new Set(selections.map(({ inputs }) => shapes.shapeOf(inputs[0])?.at(-1)));
  const [width] = widths;
  return widths.size === 1 && width && width < experts ? width : null;
}

/** What is cut out of logits, or of anything that holds columns of them. */
function cutsBehind(logits: Value): Value[] {
  const reached = new Set([logits]);
  for (const { uses } of reached) {
    if (reached.size > searched) break;
    const users = uses.map(({ node }) => node).filter(({ opType }) => passing.has(opType));
    for (const output of users.flatMap(({ outputs }) => outputs)) if (output) reached.add(output);
  }
  return [...reached].filter(({ producer }) => ['Slice', 'Split'].includes(producer?.opType ?? ''));
}

function isCutOf({ producer }: Value, logits: Value): boolean {
  return aliasRoot(producer!.inputs[0]!) === aliasRoot(logits);
}

function isFirst(columns: HeldColumns | null, count: number): boolean {
  return columns?.length === count && columns.every((column, at) => column === at);
}

/** Whether a value goes, by itself, to where it meets something that the router has no part in. */
function meetsTokens(value: Value, candidate: RouterCandidate, facts: GraphFacts): boolean {
  const met = new Set<Value>();
  const alone = new Set([value]);
  for (const each of alone) {
    if (alone.size > searched) return false;
    for (const { node } of each.uses.filter((use) => !shapeOps.has(use.node.opType))) {
      const others = node.inputs.filter((input, at) => isLive(node, at, facts) && !alone.has(input!));
      for (const other of others) met.add(other!);
      if (others.length === 0) for (const output of node.outputs) if (output) alone.add(output);
    }
  }
  const isOwn = (other: Value): boolean =>
    linearSources(other, facts).some(({ node }) => node === candidate.linear.node);
  return met.size > 0 && ![...met].some(isOwn);
}

function isLive(node: Node, at: number, facts: GraphFacts): boolean {
  const input = node.inputs[at];
  return Boolean(input) && !isShapeInput(node, at) && !facts.isDataless(input!);
}
