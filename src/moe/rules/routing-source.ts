import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { summedAxis } from '../graph/axes.ts';
import { isConstant, scalarOf } from '../graph/constant.ts';
import { onlyCut } from '../graph/cuts.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasRoot, layoutOps } from '../graph/operators.ts';
import { topKCount } from '../graph/top-k-count.ts';
import type { Router } from '../moe-layer.ts';
import type { Evidence } from './describe-layer.ts';
import { unspread } from './mask-places.ts';
import type { Region } from './region.ts';
import { fromRouter } from './region.ts';

/** A routing value before rows or columns of it were picked. */
export interface RoutingSource {
  value: Value;
  isTransposed: boolean;
}

const picking = new Set(['Gather', 'GatherND', 'Slice', 'Split', 'GatherElements']);

/** Walks back from a weight, through layout and selection, to the table that it is taken from. */
export function weightSource(
  weight: Value,
  { region: { colour }, facts }: Evidence,
  router: Router,
): RoutingSource {
  let value = weight;
  let isTransposed = false;
  for (;;) {
    const node = value.producer;
    const input = node?.inputs[0];
    if (!node || !input || colour.get(input) !== fromRouter) break;
    // Picking by the very choice (from all scores) is where the table of chosen weights is made.
    if (!layoutOps.has(node.opType) && !(picking.has(node.opType) && node.opType !== 'GatherElements')) break;
    if (isTableOfChoices(value, router, facts)) break;
    if (node.opType === 'Transpose') isTransposed = !isTransposed;
    value = input;
  }
  return { value, isTransposed };
}

/** Whether the weights of all choices are cut out of a wider table, which holds more than those. */
function isTableOfChoices(value: Value, { topK, experts }: Router, { shapes }: GraphFacts): boolean {
  const cut = onlyCut(value, shapes);
  const isLast = cut?.axis === (shapes.shapeOf(value)?.length ?? 0) - 1;
  return isLast && cut?.length === topK && cut.size !== experts;
}

const indexOps = new Set(
  `NonZero Equal OneHot Cast CastLike Gather GatherND Split Slice Squeeze Unsqueeze Reshape Flatten Transpose Expand Identity
  Div Floor Abs Sign Mul Sub Mod And Less TopK Add`.split(/\s+/),
);

/**
 * The table of chosen experts that an index descends from, when nothing but comparing, sorting and picking lies between.
 * Null when there are several, or when something else takes part, e.g. a capacity that drops tokens.
 */
export function indexSource(index: Value, region: Region, facts: GraphFacts): Value | null {
  const isTable = (value: Value): boolean =>
    value === region.lookedUp || isSelection(value.producer, facts) || isCapped(value.producer, facts);
  const [root = null, ...others] = indexRoots(index, { region, facts }, isTable);
  return others.length === 0 ? root : null;
}

/** Where an index comes from: the first of `isRoot` on each way back, and whatever is more than comparing, sorting and picking. */
export function indexRoots(
  index: Value,
  { region, facts }: Pick<Evidence, 'region' | 'facts'>,
  isRoot: (value: Value) => boolean,
): Set<Value> {
  const roots = new Set<Value>();
  const seen = new Set([index]);
  for (const value of seen) {
    const node = value.producer;
    const isPassed = node && (indexOps.has(node.opType) || isAny(node, facts));
    if (!isPassed || isRoot(value)) roots.add(value);
    else for (const input of indexInputs(node, { region, facts })) seen.add(input);
  }
  return roots;
}

/** Whether a node tells of each token if any of its choices equals a number, as a largest or as a sum above zero. */
function isAny(node: Node, facts: GraphFacts): boolean {
  const [data, bound] = node.inputs;
  const source = data && aliasRoot(data).producer;
  if (node.opType === 'Greater')
    return scalarOf(bound) === 0 && source?.opType === 'ReduceSum' && isAny(source, facts);
  if (node.opType !== 'ReduceMax' && node.opType !== 'ReduceSum') return false;
  return source?.opType === 'Equal' && summedAxis(node, facts.shapes.shapeOf(data)?.length ?? 0) === -1;
}

/** A top-k with a fixed k chooses experts; one whose k is computed sorts. */
function isSelection(node: Node | null, { shapes }: GraphFacts): boolean {
  return node?.opType === 'TopK' && topKCount(node, shapes) !== null;
}

/** A cut that leaves so many rows of an unknown number, or as many at most: tokens beyond them go to no expert. */
function isCapped(node: Node | null, { shapes }: GraphFacts): boolean {
  if (node?.opType !== 'Slice') return false;
  const end = node.inputs[2];
  const cut = onlyCut(node.outputs[0]!, shapes);
  const isFixed = cut !== null && cut.size === null && cut.length !== null;
  return isFixed || (end ? aliasRoot(end).producer?.opType === 'Min' : false);
}

const pickingOps = new Set(['Gather', 'GatherND']);

/** What an index is made of, without what only says where to look or how large things are. */
export function indexInputs(
  node: Node,
  { region: { colour }, facts }: Pick<Evidence, 'region' | 'facts'>,
): Value[] {
  const isPick = pickingOps.has(node.opType);
  const isOneInput =
    isPick ||
    layoutOps.has(node.opType) ||
    ['Slice', 'Split', 'OneHot', 'TopK', 'NonZero'].includes(node.opType);
  const at = isPick && areRowNumbers(node.inputs[0]!, facts) ? 1 : 0;
  const inputs = isOneInput ? [node.inputs[at]] : node.inputs;
  return inputs.filter(
    (input): input is Value => input !== null && !isConstant(input) && (colour.get(input) ?? 0) !== 0,
  );
}

/** True for `arange(n)`, each number repeated in place: picking from it is dividing by how often. */
function areRowNumbers(value: Value, { shapes }: GraphFacts): boolean {
  const rows = unspread(aliasRoot(value), shapes);
  const range = aliasRoot(rows).producer;
  const isFromZero =
    range?.opType === 'Range' && scalarOf(range.inputs[0]) === 0 && scalarOf(range.inputs[2]) === 1;
  return isFromZero && shapes.shapeOf(rows)?.length === 1;
}
