import type { MoeLayer } from '../moe/moe-layer.ts';
import { graft } from '../onnx/graft.ts';
import type { Graph } from '../onnx/graph.ts';
import type { Value } from '../onnx/value.ts';
import type { RawRouter } from './router-values.ts';

/** One model's output and the values that hold its routing, layer by layer. */
interface Parts {
  output: Value;
  routers: readonly RawRouter[];
}

/**
 * Adds two models of mixed parts to a joined graph, which tell apart what a loss comes from (EAC-MoE, 2508.01625):
 * - `routing`: the reference, whose layers send each token where the quantized model sends it, with its weights;
 * - `experts`: the quantized model, whose layers send each token where the reference sends it.
 *
 * Both take the routing of the same token at the same layer of the other model's own run. Everything beside routed
 * experts (quantized attention, say) goes with the experts.
 */
export function joinHybrids(
  graph: Graph,
  models: {
    reference: Parts;
    /** In its own graph, with what its inputs and constants are bound to. */
    quantized: Parts & { bindings: ReadonlyMap<Value, Value> };
    /** The quantized routers' values in the joined graph. */
    cumulative: readonly RawRouter[];
  },
): { routing: Value; experts: Value } {
  const { reference, quantized, cumulative } = models;
  const own = [...graph.inputs, ...graph.constants].map((value): [Value, Value] => [value, value]);
  const swapped = swap(new Map(own), reference.routers, cumulative);
  const forced = swap(quantized.bindings, quantized.routers, reference.routers);
  const [routing] = graft(graph, [reference.output], swapped, 'routing/');
  const [experts] = graft(graph, [quantized.output], forced, 'experts/');
  return { routing, experts };
}

/** Bindings that put the decisions of other routers in the place of a model's own. */
function swap(
  bindings: ReadonlyMap<Value, Value>,
  routers: readonly RawRouter[],
  others: readonly RawRouter[],
): Map<Value, Value> {
  const swapped = new Map(bindings);
  routers.forEach(({ weights, indices }, i) => {
    swapped.set(weights, others[i].weights);
    if (indices) swapped.set(indices, others[i].indices!);
  });
  return swapped;
}

/** Why one model's layers cannot take the other's routing; empty if they can. */
export function mixingProblem(
  layers: readonly MoeLayer[],
  reference: readonly RawRouter[],
  quantized: readonly RawRouter[],
): string {
  const at = layers.findIndex((_, i) => reference[i].form !== quantized[i].form);
  if (at < 0) return '';
  const [a, b] = [reference[at].form, quantized[at].form];
  return `the routing of layer ${layers[at].id} has the form ${a} in one model and ${b} in the other`;
}
