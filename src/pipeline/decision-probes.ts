import type { OriginalLogits } from '../calibrate/gap-probe.ts';
import { tokenRows } from '../calibrate/token-rows.ts';
import type { Batch } from '../data/batches.ts';
import { positionsOf } from '../data/positions.ts';
import { routerLinear } from '../emit/router-linear.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { builder } from '../onnx/build.ts';
import type { Graph } from '../onnx/graph.ts';
import { valuesIn } from '../onnx/values-in.ts';
import type { RouterMetrics } from '../report/report.ts';
import type { Probe } from '../run/probe.ts';
import { routerOfLayer } from '../verify/raw-router.ts';
import { addToken, decisionOf, emptySums, meansOf, referenceDecisionOf } from '../verify/router-metrics.ts';
import type { RouterValues } from '../verify/router-values.ts';
import { readRouting, routerValues } from '../verify/router-values.ts';
import type { TokenRouting } from '../verify/token-routing.ts';

/** What a layer's router decides, ready to be read. */
export function decisionsOf(graph: Graph, layer: MoeLayer): RouterValues {
  return routerValues(builder(graph, 'moeq/decided'), routerOfLayer(layer), layer.router.experts);
}

/** A probe that notes what a router decides on each batch. */
export function routingProbe(
  values: RouterValues,
  experts: number,
): Probe & { seen: Map<Batch, TokenRouting> } {
  const seen = new Map<Batch, TokenRouting>();
  return {
    seen,
    outputs: [...valuesIn(values)],
    take(results, batch) {
      seen.set(batch, readRouting(values, experts, results));
    },
  };
}

/** What a router made of each batch, and decided, before its model was quantized. */
export type Originals = Map<Batch, OriginalLogits & { routing: TokenRouting }>;

/** The same, with what a change of the router is fitted to: its logits, before and after what follows its linear. */
export function originalProbe(graph: Graph, layer: MoeLayer): Probe & { seen: Originals } {
  const { experts } = layer.router;
  const product = tokenRows(builder(graph, 'moeq/original'), routerLinear(layer).product, experts, null);
  const decided = routingProbe(decisionsOf(graph, layer), experts);
  const seen: Originals = new Map();
  return {
    seen,
    outputs: [product, ...decided.outputs],
    take(results, batch) {
      decided.take(results, batch);
      const routing = decided.seen.get(batch)!;
      const logits = { ...results[product.name], data: routing.logits };
      seen.set(batch, { product: results[product.name], logits, routing });
    },
  };
}

/** A probe that compares what a router decides with what the original one did. */
export function decisionProbe(
  values: RouterValues,
  experts: number,
  originalOf: (batch: Batch) => TokenRouting,
): Probe & { metrics(): RouterMetrics } {
  const sums = emptySums();
  return {
    outputs: [...valuesIn(values)],
    take(results, batch) {
      const original = originalOf(batch);
      const decided = readRouting(values, experts, results);
      for (const { at } of positionsOf(batch, original.tokens))
        addToken(sums, referenceDecisionOf(original, at), decisionOf(decided, at));
    },
    metrics: () => meansOf(sums),
  };
}
