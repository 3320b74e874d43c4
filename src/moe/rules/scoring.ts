import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { positiveAxis } from '../graph/axes.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { linearRecord } from '../graph/linear-node.ts';
import { aliasesOf } from '../graph/operators.ts';
import type { Shapes } from '../graph/shapes.ts';
import { storedView } from '../graph/stored-view.ts';
import { topKCount } from '../graph/top-k-count.ts';
import type { Router, Scoring } from '../moe-layer.ts';
import type { RouterCandidate } from './anchor.ts';
import { lookedUpChoice } from './anchor.ts';
import type { Region } from './region.ts';
import { fromInput, fromRouter } from './region.ts';

/**
 * Reads how logits become a choice and weights: only nodes count whose results the experts' side uses. A choice may take
 * all experts: what is said of the layer is then that nothing is chosen, but tables of weights are in its order.
 */
export function readRouter(
  candidate: RouterCandidate,
  region: Region,
  facts: GraphFacts,
  experts: number,
): Router {
  const used = usedRouting(region);
  if (isSoft(candidate, used, region, experts)) return softRouter(candidate, experts);
  const { lookedUp } = region;
  const selections = [...used].filter((node) =>
    lookedUp ? lookedUpChoice(node) === lookedUp : selects(node, candidate.experts, facts),
  );
  return {
    linear: isOwnLinear(candidate) ? linearRecord(candidate.linear, null) : null,
    experts: candidate.experts,
    topK: topKOf(selections, candidate.experts, facts),
    scoring: candidate.linear.fused === 'Sigmoid' ? 'sigmoid' : scoringOf(used, selections, region),
    renormalized: isRenormalized(used, selections, region),
    bias: candidate.linear.bias !== null || hasSelectionBias(used, selections, candidate.experts, facts),
    logits: candidate.logits,
  };
}

/** Whether the linear of a router can be rewritten: its weight is stored as numbers, and nothing else is made by it. */
export function isOwnLinear({ linear, apart }: RouterCandidate): boolean {
  return linear.view.numbers === 'plain' && apart.size === 0;
}

/** The router as it is described: choosing all experts is choosing none. */
export function describedRouter(router: Router): Router {
  return router.topK === router.experts ? { ...router, topK: null } : router;
}

/**
 * Soft MoE (Puigcerver et al. 2024, eq. 1 to 3): logits of every token for every slot pass two softmaxes, and one of them
 * mixes the tokens into slots. Each expert has the same number of slots.
 */
function isSoft(
  { experts: slots }: RouterCandidate,
  used: ReadonlySet<Node>,
  { nodes, colour }: Region,
  experts: number,
): boolean {
  const operators = [...used].map(({ opType }) => opType);
  if (operators.includes('TopK') || operators.includes('ArgMax')) return false;
  const bits = (value: Value | null): number => (value && colour.get(value)) ?? 0;
  const mixes = nodes.some(
    ({ opType, inputs }) =>
      ['MatMul', 'Einsum', 'FusedMatMul'].includes(opType) &&
      inputs.some((input) => bits(input) === fromRouter) &&
      inputs.some((input) => bits(input) === fromInput),
  );
  return mixes && operators.filter((opType) => opType === 'Softmax').length >= 2 && slots % experts === 0;
}

function softRouter({ linear, logits }: RouterCandidate, experts: number): Router {
  const record =
    linear.stackAxis === null && linear.view.numbers === 'plain' ? linearRecord(linear, null) : null;
  return {
    linear: record,
    experts,
    topK: null,
    scoring: 'soft-moe',
    renormalized: false,
    bias: false,
    logits,
  };
}

/** Nodes of the routing alone from which something flows to the experts' side. */
function usedRouting({ nodes, colour }: Region): Set<Node> {
  const bits = (value: Value | null): number => (value && colour.get(value)) ?? 0;
  const used = new Set<Node>();
  for (const node of nodes.toReversed()) {
    const isRouting = node.outputs.every((value) => !(bits(value) & fromInput));
    const reaches = node.outputs.some((value) =>
      value?.uses.some(
        ({ node: user }) => used.has(user) || user.outputs.some((output) => bits(output) & fromInput),
      ),
    );
    if (isRouting && reaches) used.add(node);
  }
  return used;
}

/** True for a TopK or ArgMax over all experts; group selections and sorts work on other widths. */
function selects(node: Node, experts: number, { shapes }: GraphFacts): boolean {
  if (node.opType !== 'TopK' && node.opType !== 'ArgMax') return false;
  const dims = shapes.shapeOf(node.inputs[0]);
  if (!dims) return node.opType === 'ArgMax' || shapes.integersOf(node.inputs[1])?.[0] != null;
  const axis = positiveAxis(node.int('axis') ?? (node.opType === 'TopK' ? -1 : 0), dims.length);
  // A width that is not known belongs to a selection, not to a sort, when the number of choices is fixed.
  const isFixed = node.opType === 'ArgMax' || shapes.integersOf(node.inputs[1])?.[0] != null;
  return (dims[axis] === experts || (dims[axis] === null && isFixed)) && axis === dims.length - 1;
}

function topKOf(selections: readonly Node[], experts: number, { shapes }: GraphFacts): number | null {
  const counts = selections.map((node) => countOf(node, shapes));
  if (counts.length === 0 || counts.includes(null)) return null;
  const largest = Math.max(...(counts as number[]));
  if (largest >= experts && (largest > experts || selections.some(isCut))) return null;
  // Top-2 written as two arg-maxes, as in NLLB-MoE and the sparse mixer.
  return largest === 1 ? new Set(selections.map((node) => node.inputs[0])).size : largest;
}

/** How many experts a selection takes for each token. */
function countOf(node: Node, shapes: Shapes): number | null {
  if (node.opType === 'ArgMax') return 1;
  if (node.opType === 'GatherElements') return shapes.shapeOf(node.inputs[1])?.at(-1) ?? null;
  return topKCount(node, shapes);
}

/** Whether parts of what a node chose are read: then it sorted. */
function isCut({ outputs }: Node): boolean {
  const aliases = outputs.flatMap((output) => (output ? [...aliasesOf(output)] : []));
  return aliases.some(({ uses }) =>
    uses.some(({ node, index }) => index === 0 && ['Slice', 'Split', 'Gather'].includes(node.opType)),
  );
}

function scoringOf(used: ReadonlySet<Node>, selections: readonly Node[], region: Region): Scoring {
  const nodes = [...used];
  const after = descendants(selections, region);
  if (nodes.some(({ opType }) => opType === 'Sigmoid')) return 'sigmoid';
  const softmaxes = nodes.filter(({ opType }) => opType === 'Softmax');
  if (softmaxes.length === 0) return 'unknown';
  if (selections.length === 0 && !nodes.some(({ opType }) => opType === 'TopK' || opType === 'ArgMax'))
    return 'dense-softmax';
  if (softmaxes.some(isThresholded)) return 'sparsemixer';
  return softmaxes.every((node) => after.has(node)) ? 'topk-softmax' : 'softmax';
}

/** The sparse mixer of Phi-3.5-MoE: logits far below the largest are masked before the softmax. */
function isThresholded(softmax: Node): boolean {
  const mask = producerThrough(softmax.inputs[0], 'Where');
  const comparison = mask && producerThrough(mask.inputs[0], 'Greater');
  return comparison?.inputs[0]?.producer?.opType === 'Div';
}

function producerThrough(value: Value | null | undefined, opType: string): Node | null {
  let node = value?.producer ?? null;
  while (node && ['Cast', 'Identity', 'Not'].includes(node.opType)) node = node.inputs[0]?.producer ?? null;
  return node?.opType === opType ? node : null;
}

function descendants(roots: readonly Node[], { colour }: Region): Set<Node> {
  const found = new Set(roots);
  for (const node of found) {
    for (const output of node.outputs) {
      for (const { node: user } of output?.uses ?? []) {
        const isRouting = user.outputs.some((value) => value && (colour.get(value) ?? 0) === fromRouter);
        if (isRouting) found.add(user);
      }
    }
  }
  roots.forEach((root) => found.delete(root));
  return found;
}

/** A division, after the selection, by a sum of what was selected. */
function isRenormalized(used: ReadonlySet<Node>, selections: readonly Node[], region: Region): boolean {
  const after = descendants(selections, region);
  return [...used].some((node) => {
    if (node.opType === 'ReduceL1') return after.has(node);
    if (node.opType !== 'Div' || !after.has(node)) return false;
    return sumBehind(node.inputs[1]) !== null;
  });
}

function sumBehind(value: Value | null | undefined): Node | null {
  let node = value?.producer ?? null;
  for (let hops = 0; node && hops < 6; hops++) {
    if (node.opType === 'ReduceSum' || node.opType === 'ReduceL1') return node;
    if (!['Add', 'Clip', 'Max', 'Cast', 'Expand', 'Unsqueeze', 'Identity', 'Reshape'].includes(node.opType))
      return null;
    node = node.inputs[0]?.producer ?? node.inputs[1]?.producer ?? null;
  }
  return null;
}

/** An Add of one stored number per expert on the way to the selection. */
function hasSelectionBias(
  used: ReadonlySet<Node>,
  selections: readonly Node[],
  experts: number,
  facts: GraphFacts,
): boolean {
  const before = new Set<Node>();
  const pending = [...selections];
  for (let node = pending.pop(); node; node = pending.pop()) {
    for (const input of node.inputs) {
      const producer = input?.producer;
      if (!producer || before.has(producer) || !used.has(producer)) continue;
      before.add(producer);
      pending.push(producer);
    }
  }
  return [...before].some((node) => {
    if (node.opType !== 'Add') return false;
    return node.inputs.some((input) => storedView(input, facts.shapes)?.axes.at(-1)?.size === experts);
  });
}
