import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { MoeLayer, Routing } from './moe-layer.ts';

/** A routing whose weights are values of the graph. */
export type ExplicitRouting = Exclude<Routing, { kind: 'logits' }>;

/**
 * Adds the nodes that choose experts as a fused operator does inside: softmax over all experts, the k largest, divided
 * by their sum if the operator renormalizes.
 */
export function spellOutRouting(model: Model, layer: MoeLayer): void {
  const routing = layer.boundary?.routing;
  if (routing?.kind !== 'logits') return;
  const b = builder(model.graph, `moeq/${layer.id}/router`);
  const logits = b.op('Reshape', [routing.logits, b.ints([-1, layer.router.experts])]);
  const scores = b.op('Softmax', [logits], { axis: -1 });
  const [chosen, indices] = b.ops(2, 'TopK', [scores, b.ints([routing.k])], { axis: -1 });
  const sum = b.op('ReduceSum', [chosen, b.ints([-1])], { keepdims: 1 });
  const weights = routing.renormalized ? b.op('Div', [chosen, sum], {}, { name: 'weights' }) : chosen;
  layer.boundary!.routing = { kind: 'topk', indices, weights, k: routing.k, appliesTo: routing.appliesTo };
}

/** The routing of a layer that was prepared (see `prepareModel`). */
export function explicitRouting(layer: MoeLayer): ExplicitRouting {
  const { routing } = layer.boundary!;
  if (routing.kind === 'logits') throw new TypeError(`the routing of ${layer.id} was not spelled out`);
  return routing;
}

/** The shape of routing weights: of the k chosen experts per token, of all experts (which axis?), or of slots too. */
export type RoutingForm = 'topk' | 'dense-first' | 'dense-last' | 'combine';

export function routingForm(routing: ExplicitRouting): RoutingForm {
  return routing.kind === 'dense' ? `dense-${routing.expertAxis}` : routing.kind;
}
