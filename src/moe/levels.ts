import type { Node } from '../onnx/node.ts';
import type { Value } from '../onnx/value.ts';
import type { GraphFacts } from './graph-facts.ts';
import type { LinearNode } from './linear-node.ts';
import { elementwiseOps, layoutOps } from './operators.ts';
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
  const byNode = new Map<Node, RegionLinear>();
  const sources = sourceFinder(region, byNode);
  const meets = meetingFinder(region);
  for (const node of region.nodes) {
    const linear = region.routers.has(node) ? null : facts.linearOf(node);
    if (!linear || !((region.colour.get(linear.input) ?? 0) & fromInput)) continue;
    const { nearest, hasHidden } = sources(linear.input);
    const origins = [...nearest];
    const isBeyond = (origins.length === 0 && hasHidden) || origins.some((origin) => origin.isBeyond);
    byNode.set(node, { ...linear, origins, isBeyond, isRouted: false });
  }
  for (const linear of byNode.values()) linear.isRouted = isChosen(linear, region) || meets(linear.output);
  return [...byNode.values()];
}

function isChosen({ input, view }: RegionLinear, { colour }: Region): boolean {
  return Boolean(
    ((colour.get(input) ?? 0) | (view.selector ? (colour.get(view.selector.index) ?? 0) : 0)) & fromRouter,
  );
}

interface Sources {
  nearest: ReadonlySet<RegionLinear>;
  hasHidden: boolean;
}

const nothing: Sources = { nearest: new Set(), hasHidden: false };

/** Walks back from a value to the nearest linears. */
function sourceFinder(
  { colour }: Region,
  byNode: ReadonlyMap<Node, RegionLinear>,
): (value: Value) => Sources {
  const known = new Map<Value, Sources>();
  const find = (value: Value): Sources => {
    const cached = known.get(value);
    if (cached) return cached;
    known.set(value, nothing);
    const result = compute(value);
    known.set(value, result);
    return result;
  };
  const compute = (value: Value): Sources => {
    const node = value.producer;
    if (!node || !colour.has(value)) return nothing;
    const linear = byNode.get(node);
    if (linear) return { nearest: new Set([linear]), hasHidden: false };
    const inputs = node.inputs
      .filter((each) => each !== null)
      .filter((each) => (colour.get(each) ?? 0) & fromInput);
    const found = inputs.map(find);
    const nearest =
      found.length === 1 ? found[0].nearest : new Set(found.flatMap((each) => [...each.nearest]));
    const hasHidden = found.some((each) => each.hasHidden);
    if (passing.has(node.opType)) return { nearest, hasHidden };
    return { nearest: new Set(), hasHidden: hasHidden || nearest.size > 0 };
  };
  return find;
}

/** Whether a value is weighed or selected by the routing before it is added to anything else. */
function meetingFinder({ colour }: Region): (value: Value) => boolean {
  const known = new Map<Value, boolean>();
  const depends = (value: Value | null, bits: number): boolean =>
    value !== null && Boolean((colour.get(value) ?? 0) & bits);
  const meets = (value: Value): boolean => {
    const cached = known.get(value);
    if (cached !== undefined) return cached;
    known.set(value, false);
    const result = value.uses.some(({ node }) => passes(node));
    known.set(value, result);
    return result;
  };
  const passes = (node: Node): boolean => {
    const data = node.inputs.filter((input) => depends(input, fromInput));
    const routing = node.inputs.some((input) => depends(input, fromRouter) && !depends(input, fromInput));
    if (routing && meetingOps.has(node.opType)) return true;
    if ((node.opType === 'Add' || node.opType === 'Sum') && data.length > 1) return false;
    const [output] = node.outputs;
    const isTransparent =
      passing.has(node.opType) ||
      ['MatMul', 'Gemm', 'FusedMatMul', 'FusedGemm', 'Einsum', 'Conv', 'Split'].includes(node.opType);
    return (
      isTransparent && node.outputs.some((each) => each && colour.has(each) && meets(each)) && output !== null
    );
  };
  return meets;
}
