import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { linearRecord } from '../graph/linear-node.ts';
import { aliasRoot } from '../graph/operators.ts';
import type { Router, Scoring } from '../moe-layer.ts';
import { linearSources } from './anchor.ts';

/** The router in front of a fused operator, which chooses by itself among the columns that it reads. */
export function fusedRouter(node: Node, probabilities: Value, experts: number, facts: GraphFacts): Router {
  const sources = linearSources(probabilities, facts);
  const linear = sources.find(({ out }) => out === experts) ?? null;
  const logits = linear?.output ?? aliasRoot(probabilities);
  return {
    linear: linear && linear.view.numbers === 'plain' ? linearRecord(linear, null) : null,
    experts,
    topK: node.int('k') ?? 1,
    scoring: fusedScoring(node),
    renormalized: false,
    bias: linear ? linear.bias !== null : aliasRoot(logits).producer?.opType === 'Add',
    logits,
  };
}

function fusedScoring(node: Node): Scoring {
  if (node.opType === 'QMoE' && node.inputs[14]) return scoringBehind(node.inputs[14]);
  if (node.int('use_sparse_mixer')) return 'sparsemixer';
  return node.int('normalize_routing_weights') ? 'topk-softmax' : 'softmax';
}

/** The scoring function behind mixing weights that the graph works out beside the fused operator. */
function scoringBehind(weights: Value): Scoring {
  const seen = new Set<Value>();
  const pending: Value[] = [weights];
  let softmax: Node | null = null;
  for (let value = pending.pop(); value && seen.size < 64; value = pending.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    const node = value.producer;
    if (node?.opType === 'Sigmoid') return 'sigmoid';
    if (node?.opType === 'Softmax') softmax = node;
    for (const input of node?.inputs ?? []) if (input) pending.push(input);
  }
  if (!softmax) return 'unknown';
  const source = softmax.inputs[0] && aliasRoot(softmax.inputs[0]).producer;
  return source?.opType === 'TopK' ? 'topk-softmax' : 'softmax';
}
