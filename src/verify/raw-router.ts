import type { LayerRecord } from '../moe/model-record.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { RoutingForm } from '../moe/spell-out-routing.ts';
import { explicitRouting, routingForm } from '../moe/spell-out-routing.ts';
import type { Value } from '../onnx/value.ts';

/** The values of a graph that hold a router's decisions, in the form the layer has them. */
export interface RawRouter {
  logits: Value;
  /** Only of the form `topk`. */
  indices: Value | null;
  weights: Value;
  form: RoutingForm;
  /** Experts per token, of the form `topk`; null otherwise. */
  k: number | null;
}

export function routerOfLayer(layer: MoeLayer): RawRouter {
  const routing = explicitRouting(layer);
  return {
    logits: layer.router.logits,
    indices: routing.kind === 'topk' ? routing.indices : null,
    weights: routing.weights,
    form: routingForm(routing),
    k: routing.kind === 'topk' ? routing.k : null,
  };
}

/** The router of a written layer; `reference` tells what the record leaves out. */
export function routerOfRecord(
  { logits, routing }: LayerRecord,
  find: (name: string) => Value,
  reference: RawRouter,
): RawRouter {
  return {
    logits: find(logits),
    indices: routing.indices === null ? null : find(routing.indices),
    weights: find(routing.weights),
    form: routing.form ?? reference.form,
    k: routing.k === undefined ? reference.k : routing.k,
  };
}

/** The values as a list, to be grafted; see {@link withValues}. */
export function valuesOf({ logits, weights, indices }: RawRouter): Value[] {
  return [logits, weights, ...(indices ? [indices] : [])];
}

/** The same router with other values, in the order of {@link valuesOf}. */
export function withValues(router: RawRouter, [logits, weights, indices]: readonly Value[]): RawRouter {
  return { ...router, logits, weights, indices: indices ?? null };
}
