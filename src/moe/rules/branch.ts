import type { Value } from '../../onnx/value.ts';
import { positiveAxis } from '../graph/axes.ts';
import { isConstant, isZero, scalarOf } from '../graph/constant.ts';
import { onlyCut } from '../graph/cuts.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { Bias } from '../graph/linear-bias.ts';
import { biasAfter } from '../graph/linear-bias.ts';
import type { RowPart } from '../graph/linear-node.ts';
import { whole } from '../graph/linear-node.ts';
import { elementwiseOps, layoutOps } from '../graph/operators.ts';
import type { ActivationLeaf, FittedActivation } from './fit-activation.ts';
import { fitActivation } from './fit-activation.ts';
import type { RegionLinear } from './levels.ts';
import { innerNorms } from './levels.ts';
import { fusedFormula } from './read-formula.ts';

/** What feeds the activation: (a part of) the outputs of one linear, or of one linear per expert laid end to end. */
export interface Leaf extends ActivationLeaf {
  names: Value[];
  linears: RegionLinear[];
  rows: RowPart;
  /** A bias added after they were laid end to end, gathered for each row's expert. */
  bias: Bias | null;
}

/** One down linear and how its input comes about. */
export interface Branch extends FittedActivation<Leaf> {
  down: RegionLinear;
}

/** Reads the expression between `down` and the first linears. Null when nothing leads there. */
export function readBranch(down: RegionLinear, facts: GraphFacts): Branch | null {
  const leaves = collectLeaves(down, facts);
  return leaves.length === 0 ? null : { down, ...fitActivation(down.input, leaves) };
}

const through = new Set([
  ...elementwiseOps,
  ...layoutOps,
  'Slice',
  'Split',
  'Gather',
  'GatherND',
  ...innerNorms,
]);

function collectLeaves(down: RegionLinear, facts: GraphFacts): Leaf[] {
  const outputs = new Map(down.origins.map((linear) => [linear.output, linear]));
  const leaves = new Map<string, Leaf>();
  const seen = new Set<Value>();
  const pending = [down.input];
  for (let value = pending.pop(); value; value = pending.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    const leaf = leafAt(value, outputs, facts);
    if (leaf) {
      const key = `${leaf.linears.map(({ product }) => product.name).join()} ${leaf.rows.start} ${leaf.rows.step} ${leaf.rows.count}`;
      const known = leaves.get(key);
      if (known) known.names.push(value);
      else leaves.set(key, leaf);
      continue;
    }
    const node = value.producer;
    if (!node || isConstant(value) || !through.has(node.opType)) continue;
    const inputs = elementwiseOps.has(node.opType) ? node.inputs : node.inputs.slice(0, 1);
    inputs.forEach((input) => input && pending.push(input));
  }
  return [...leaves.values()];
}

function leafAt(value: Value, outputs: ReadonlyMap<Value, RegionLinear>, facts: GraphFacts): Leaf | null {
  const joined = joinedWithBias(value, outputs, facts);
  if (joined) return leaf(value, joined, whole);
  const node = value.producer;
  if (!node || !['Slice', 'Split', 'Gather'].includes(node.opType)) return null;
  const source = node.inputs[0]!;
  const parts = joinedWithBias(stripLayout(source, outputs), outputs, facts);
  if (!parts) return null;
  const width = parts.linears[0].out;
  const rows = partOf(value, width, facts) ?? interleavedPart(value, source, width, facts);
  return rows && leaf(value, parts, rows);
}

function leaf(value: Value, joined: Joined, rows: RowPart): Leaf {
  return { names: [value], ...joined, rows, fused: fusedFormula(joined.linears[0]) };
}

type Joined = Pick<Leaf, 'linears' | 'bias'>;

function joinedWithBias(
  value: Value,
  outputs: ReadonlyMap<Value, RegionLinear>,
  facts: GraphFacts,
): Joined | null {
  const linears = joinedAt(value, outputs, facts);
  if (linears) return linears.length > 1 && biasOf(value, linears, facts) ? null : { linears, bias: null };
  const node = value.producer;
  if (node?.opType !== 'Add') return null;
  for (const input of node.inputs) {
    const inner = input && joinedAt(stripLayout(input, outputs), outputs, facts);
    const bias = inner && inner.length > 1 && biasOf(stripLayout(input, outputs), inner, facts);
    if (bias && bias.output === value) return { linears: inner, bias: bias.bias };
  }
  return null;
}

function biasOf(
  value: Value,
  linears: readonly RegionLinear[],
  { shapes }: GraphFacts,
): ReturnType<typeof biasAfter> {
  return biasAfter(value, linears[0].out, linears.length, true, shapes);
}

/** The linears whose outputs a value is: one, or several laid end to end. */
function joinedAt(
  value: Value,
  outputs: ReadonlyMap<Value, RegionLinear>,
  { shapes }: GraphFacts,
): RegionLinear[] | null {
  const linear = outputs.get(value);
  if (linear) return [linear];
  const node = value.producer;
  if (node?.opType === 'ScatterND') return placedAt(value, outputs);
  if (node?.opType !== 'Concat') return null;
  const parts = node.inputs.map((input) => input && outputs.get(stripLayout(input, outputs)));
  if (!parts.every((part) => part != null)) return null;
  const rank = shapes.shapeOf(value)?.length;
  const isChannel =
    node.int('axis') === -1 || (rank !== undefined && rank > 1 && node.int('axis') === rank - 1);
  return isChannel ? null : parts;
}

/** The linears whose outputs are written into zeros one after the other. */
function placedAt(value: Value, outputs: ReadonlyMap<Value, RegionLinear>): RegionLinear[] | null {
  const linears: RegionLinear[] = [];
  for (let node = value.producer; node?.opType === 'ScatterND'; node = node.inputs[0]?.producer ?? null) {
    const update = node.inputs[2] && outputs.get(stripLayout(node.inputs[2], outputs));
    if (!update) return null;
    linears.unshift(update);
    if (node.inputs[0] && isZero(node.inputs[0])) return linears.length > 1 ? linears : null;
  }
  return null;
}

function stripLayout(value: Value, outputs: ReadonlyMap<Value, RegionLinear>): Value {
  let root = value;
  while (root.producer && !outputs.has(root) && layoutOps.has(root.producer.opType))
    root = root.producer.inputs[0]!;
  return root;
}

/** Which output rows of a linear of width `width` a Slice or Split lets through; null if it cuts another axis. */
function partOf(value: Value, width: number, { shapes }: GraphFacts): RowPart | null {
  const { size, start, length, step } = onlyCut(value, shapes) ?? {};
  if (size !== width || start == null || length == null || step == null || length >= width) return null;
  return { start, step, count: length };
}

/**
 * Picking one of two along an axis of its own, after a reshape of the outputs to [..., width / 2, 2] or [..., 2,
 * width / 2].
 */
function interleavedPart(value: Value, source: Value, width: number, { shapes }: GraphFacts): RowPart | null {
  const node = value.producer!;
  const dims = shapes.shapeOf(source);
  if (!dims || dims.length < 2) return null;
  const axis = positiveAxis(node.int('axis') ?? 0, dims.length) - dims.length;
  const [outer, inner] = dims.slice(-2);
  if (outer === null || inner === null || outer * inner !== width) return null;
  const index =
    node.opType === 'Gather'
      ? scalarOf(node.inputs[1])
      : node.opType === 'Split'
        ? node.outputs.indexOf(value)
        : null;
  if (index === null || index < 0) return null;
  if (axis === -1 && shapes.shapeOf(value)?.at(-1) !== inner)
    return inner === 2 ? { start: index, step: inner, count: outer } : null;
  return axis === -2 && outer === 2 ? { start: index * inner, step: 1, count: inner } : null;
}
