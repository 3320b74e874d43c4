import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { isConstant, tensorOf } from '../graph/constant.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { LinearNode } from '../graph/linear-node.ts';
import { stackSize } from '../graph/linear-node.ts';
import { aliasRoot, elementwiseOps, layoutOps } from '../graph/operators.ts';
import { topKCount } from '../graph/top-k-count.ts';
import type { Rejection } from '../moe-layer.ts';

/** A linear that may be a router: its output reaches a top-k, an arg-max, a softmax, or a choice that was looked up. */
export interface RouterCandidate {
  linear: LinearNode;
  /** Raw logits, with the linear's own bias. */
  logits: Value;
  /** Width: the number of experts it would know. */
  experts: number;
  /** What the linear reads, before reshapes and casts. */
  x: Value;
  /** The chosen experts [tokens, k], where not the logits decide; see `lookedUpChoice`. */
  lookedUp: Value | null;
  /** The TopK and ArgMax nodes that its output reaches. */
  selections: readonly Node[];
  /** What holds columns that none of them sees; see `withoutApartColumns`. */
  apart: ReadonlySet<Value>;
}

/** More columns than this and the "router" is a vocabulary or a list of classes. */
const maxExperts = 2048;

/** What shows that there is a router before it. */
export type IsAnchor = (node: Node, facts: GraphFacts) => boolean;

/**
 * Candidates for routers: walks back from every anchor through elementwise and layout operators, never through a
 * reduction, to the linear that makes the logits.
 */
export function routerCandidates(
  facts: GraphFacts,
  rejected: Rejection[],
  isAnchor: IsAnchor,
): RouterCandidate[] {
  const found = new Map<Node, RouterCandidate>();
  for (const node of facts.nodes) {
    if (!isAnchor(node, facts)) continue;
    const linears = node.inputs[0] ? linearSources(node.inputs[0], facts) : [];
    for (const linear of linears) {
      const known = found.get(linear.node);
      const refusal = known ? null : refuse(linear, node);
      if (refusal) rejected.push({ node: node.name, reason: refusal });
      else found.set(linear.node, candidate(linear, known, node));
    }
  }
  return [...found.values()];
}

/** What is known of a linear once one more anchor is: scores may pass a softmax before they are picked. */
function candidate(linear: LinearNode, known: RouterCandidate | undefined, anchor: Node): RouterCandidate {
  const selects = anchor.opType === 'TopK' || anchor.opType === 'ArgMax';
  return {
    linear,
    logits: linear.output,
    experts: linear.out * stackSize(linear),
    x: aliasRoot(linear.input),
    lookedUp: known?.lookedUp ?? lookedUpChoice(anchor),
    selections: [...(known?.selections ?? []), ...(selects ? [anchor] : [])],
    apart: new Set(),
  };
}

/** Operators that choose among all logits or weigh them against each other. */
export function isChoice(node: Node, facts: GraphFacts): boolean {
  if (node.opType === 'TopK') return topKCount(node, facts.shapes) !== null;
  return node.opType === 'ArgMax' || node.opType === 'Softmax' || lookedUpChoice(node) !== null;
}

/**
 * The experts that scores are picked by, where a stored table tells them for each token id (Hash Layers, Roller et al. 2021;
 * the first layers of DeepSeek-V4): the router weighs only. Null for any other node.
 */
export function lookedUpChoice({ opType, inputs }: Node): Value | null {
  const choice = opType === 'GatherElements' && inputs[1] ? aliasRoot(inputs[1]) : null;
  const { producer } = choice ?? {};
  if (producer?.opType !== 'Gather' && producer?.opType !== 'GatherND') return null;
  const table = tensorOf(producer.inputs[0])?.source;
  const isTable = table?.dtype.startsWith('int') && table.shape.length === 2;
  return isTable && !isConstant(producer.inputs[1]) ? choice : null;
}

function refuse({ out, in: width, node, stackAxis, view }: LinearNode, anchor: Node): string | null {
  const name = node.name || node.opType;
  if (out * (stackAxis === null ? 1 : view.axes[stackAxis].size!) < 2)
    return `${name} gives one column: a gate, not a choice among experts`;
  if (out > maxExperts) return `${name} gives ${out} columns, more than any router has`;
  // In a soft mixture each expert has several slots: [width, experts, slots].
  const isSlots = stackAxis !== null && anchor.opType === 'Softmax';
  if ((stackAxis !== null && !isSlots) || view.selector)
    return `${name} multiplies by a stack of weights: no router does`;
  if (width < 2) return `${name} reads a single channel`;
  return null;
}

const through = new Set([
  ...elementwiseOps,
  ...layoutOps,
  'Softmax',
  'LogSoftmax',
  'GatherElements',
  'ScatterElements',
  'TopK',
  'Gather',
  'Concat',
  'Slice',
  'Split',
]);

/** Linears that a value descends from without reduction. */
export function linearSources(value: Value, facts: GraphFacts): LinearNode[] {
  const linears: LinearNode[] = [];
  const seen = new Set<Node>();
  const pending: Value[] = [value];
  for (let next = pending.pop(); next && seen.size < 64; next = pending.pop()) {
    const node = next.producer;
    if (!node || seen.has(node)) continue;
    seen.add(node);
    const linear = facts.linearOf(node);
    if (linear) {
      linears.push(linear);
      continue;
    }
    if (!through.has(node.opType)) continue;
    dataInputs(node).forEach((input) => input && pending.push(input));
  }
  return linears;
}

/** Inputs whose numbers (not positions) reach the output. */
function dataInputs(node: Node): readonly (Value | null)[] {
  switch (node.opType) {
    case 'Where':
      return node.inputs.slice(1);
    case 'ScatterElements':
      return [node.inputs[0], node.inputs[2]];
    case 'Add':
    case 'Sub':
    case 'Mul':
    case 'Div':
    case 'Concat':
      return node.inputs;
    default:
      return node.inputs.slice(0, 1);
  }
}
