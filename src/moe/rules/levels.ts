import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { isZero } from '../graph/constant.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { LinearNode } from '../graph/linear-node.ts';
import { elementwiseOps, layoutOps } from '../graph/operators.ts';
import type { Region } from './region.ts';
import { fromInput, fromRouter } from './region.ts';

/** A linear of a region and where it stands in it. */
export interface RegionLinear extends LinearNode {
  /** Linears whose outputs reach it through elementwise and selecting operators only. Empty for a first linear. */
  origins: RegionLinear[];
  /** True when other linears lie before it, but only behind operators that mix tokens or channels. */
  isBeyond: boolean;
  /** True when the routing decides what it reads, which weight it uses, or whether its output counts. */
  isRouted: boolean;
}

const selecting = ['Concat', 'Split', 'Slice', 'Gather', 'GatherND', 'GatherElements'];
/** Norms that may stand inside an expert. */
export const innerNorms = [
  'LayerNormalization',
  'SimplifiedLayerNormalization',
  'RMSNormalization',
  'BatchNormalization',
];
const passing = new Set([...elementwiseOps, ...layoutOps, ...selecting, ...innerNorms]);
/** Operators that may multiply by a stored weight. */
export const linearOps = ['MatMul', 'Gemm', 'FusedMatMul', 'FusedGemm', 'Einsum', 'Conv', 'FusedConv'];
const transparent = new Set([...passing, ...linearOps]);
const meetingOps = new Set([
  ...selecting,
  'Mul',
  'Div',
  'Where',
  'MatMul',
  'FusedMatMul',
  'Gemm',
  'Einsum',
  'ScatterND',
  'ScatterElements',
]);

/** Linears of a region, apart from its routers, in topological order. */
export function regionLinears(region: Region, facts: GraphFacts): RegionLinear[] {
  const linears = linearsInOrder(region, facts);
  const meeting = meetingValues(region);
  for (const linear of linears) linear.isRouted = isChosen(linear, region) || meeting.has(linear.output);
  return linears;
}

function isChosen({ input, view }: RegionLinear, { colour }: Region): boolean {
  const chooser = view.selector ? (colour.get(view.selector.index) ?? 0) : 0;
  return Boolean(((colour.get(input) ?? 0) | chooser) & fromRouter);
}

/** The linears before a value: the nearest ones, and whether there are others behind operators that mix. */
interface Sources {
  nearest: ReadonlySet<RegionLinear>;
  hasHidden: boolean;
}

const nothing: Sources = { nearest: new Set(), hasHidden: false };
/** Beyond this many, a value is no longer the work of one layer. */
const maxSources = 8192;

function linearsInOrder(region: Region, facts: GraphFacts): RegionLinear[] {
  const { colour, nodes, routers } = region;
  const isData = (value: Value): boolean => Boolean((colour.get(value) ?? 0) & fromInput);
  const sources = new Map<Value, Sources>();
  const linears: RegionLinear[] = [];
  const placing = new Set<Value>();
  for (const node of nodes) {
    const linear = routers.has(node) ? null : facts.linearOf(node);
    const found =
      linear && isData(linear.input) ? regionLinear(linear, sources.get(linear.input) ?? nothing) : null;
    if (found) linears.push(found);
    const data = found ? [] : node.inputs.filter((value) => value !== null).filter(isData);
    const result = found
      ? { nearest: new Set([found]), hasHidden: false }
      : merge(
          data.map((value) => sources.get(value) ?? nothing),
          passing.has(node.opType) || isPlacing(node, placing),
        );
    if (isPlacing(node, placing)) placing.add(node.outputs[0]!);
    for (const output of node.outputs) if (output) sources.set(output, result);
  }
  return linears;
}

/** One of a chain of writes into zeros that lays the rows of all experts end to end. */
function isPlacing(node: Node, placing: ReadonlySet<Value>): boolean {
  if (node.opType !== 'ScatterND' || (node.string('reduction') ?? 'none') !== 'none') return false;
  const [data] = node.inputs;
  return data !== null && (placing.has(data) || isZero(data));
}

function regionLinear(linear: LinearNode, { nearest, hasHidden }: Sources): RegionLinear {
  const origins = [...nearest];
  const isBeyond = (origins.length === 0 && hasHidden) || origins.some((origin) => origin.isBeyond);
  return { ...linear, origins, isBeyond, isRouted: false };
}

function merge(all: readonly Sources[], passes: boolean): Sources {
  const hasHidden = all.some((each) => each.hasHidden);
  const [first = nothing] = all;
  const isSame = all.every(({ nearest }) => nearest === first.nearest);
  const nearest = isSame ? first.nearest : new Set(all.flatMap((each) => [...each.nearest]));
  if (passes && nearest.size <= maxSources) return { nearest, hasHidden };
  return { nearest: nothing.nearest, hasHidden: hasHidden || nearest.size > 0 };
}

/** Values that the routing weighs or selects, at once or through later linears, before they are added to anything else. */
function meetingValues({ colour, nodes }: Region): Set<Value> {
  const bits = (value: Value | null): number => (value && colour.get(value)) ?? 0;
  const meeting = new Set<Value>();
  for (const node of nodes.toReversed()) {
    const data = node.inputs.filter((input) => bits(input) & fromInput);
    const isMet =
      meetingOps.has(node.opType) &&
      node.inputs.some((input) => (bits(input) & (fromInput | fromRouter)) === fromRouter);
    const isSum = (node.opType === 'Add' || node.opType === 'Sum') && data.length > 1;
    const leads =
      !isSum && transparent.has(node.opType) && node.outputs.some((output) => output && meeting.has(output));
    if (isMet || leads) for (const input of data) meeting.add(input!);
  }
  return meeting;
}
