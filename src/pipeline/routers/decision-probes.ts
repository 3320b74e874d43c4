import type { OriginalLogits } from '../../calibrate/gap-probe.ts';
import type { Batch } from '../../data/batches.ts';
import { positionsOf } from '../../data/positions.ts';
import { routerLinear } from '../../emit/linears/router-linear.ts';
import { tokenRows } from '../../emit/token-rows.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import { builder } from '../../onnx/build.ts';
import type { Graph } from '../../onnx/graph.ts';
import { valuesIn } from '../../onnx/values-in.ts';
import type { RouterMetrics } from '../../report/report.ts';
import type { Probe } from '../../run/probe.ts';
import { routerOfLayer } from '../../verify/raw-router.ts';
import {
  addToken,
  decisionOf,
  emptySums,
  meansOf,
  referenceDecisionOf,
} from '../../verify/router-metrics.ts';
import type { RouterValues, TokenRouting } from '../../verify/router-values.ts';
import { readRouting, routerValues } from '../../verify/router-values.ts';

/** What a layer's router decides, ready to be read. */
export function decisionsOf(graph: Graph, layer: MoeLayer): RouterValues {
  return routerValues(builder(graph, 'moeq/decided'), routerOfLayer(layer), layer.router.experts);
}

/** What a router made of each batch, and decided, before its model was quantized. */
export type Originals = Map<Batch, OriginalLogits & { routing: TokenRouting }>;

/** A probe that notes what a layer's router makes of each batch. */
export function originalProbe(graph: Graph, layer: MoeLayer): Probe & { seen: Originals } {
  const { experts } = layer.router;
  const product = tokenRows(builder(graph, 'moeq/original'), routerLinear(layer).product, experts);
  const values = decisionsOf(graph, layer);
  const seen: Originals = new Map();
  return {
    seen,
    outputs: [product, ...valuesIn(values)],
    take(results, batch) {
      const routing = readRouting(values, experts, results);
      const logits = { ...results[product.name], data: routing.logits };
      seen.set(batch, { product: results[product.name], logits, routing });
    },
  };
}

/** A probe that compares what a layer's router decides with what the original one did. */
export function decisionProbe(
  graph: Graph,
  layer: MoeLayer,
  originals: Originals,
): Probe & { metrics(): RouterMetrics } {
  const { experts } = layer.router;
  const values = decisionsOf(graph, layer);
  const sums = emptySums();
  return {
    outputs: [...valuesIn(values)],
    take(results, batch) {
      const { routing } = originals.get(batch)!;
      const decided = readRouting(values, experts, results);
      for (const { at } of positionsOf(batch, routing.tokens))
        addToken(sums, referenceDecisionOf(routing, at), decisionOf(decided, at));
    },
    metrics: () => meansOf(sums),
  };
}
