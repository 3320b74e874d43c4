import { entryOf } from '../moe/model-record.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { graft } from '../onnx/graft.ts';
import type { Graph } from '../onnx/graph.ts';
import type { Value } from '../onnx/value.ts';
import type { RawRouter } from './raw-router.ts';

/** The router of one layer in both models, each in its own graph. */
export interface RouterPair {
  layer: MoeLayer;
  reference: RawRouter;
  quantized: RawRouter;
}

/** The same, with where the layer begins in the quantized model; for the reference see `entryOf`. */
export interface EnteredPair extends RouterPair {
  entry: Value;
}

/** Models of mixed parts. */
export interface Hybrids {
  outputs: { routing: Value; experts: Value };
  /** Where each layer begins in both. */
  entries: Value[][];
}

/**
 * Adds two models of mixed parts to a joined graph, which tell apart what a loss comes from (EAC-MoE, 2508.01625):
 * - `routing`: the reference, whose layers send each token where the quantized model sends it, with its weights;
 * - `experts`: the quantized model, whose layers send each token where the reference sends it.
 *
 * Both take the routing of the same token at the same layer of the other model's own run. Everything beside routed
 * experts (quantized attention, say) goes with the experts.
 * @param outputs of the models, each in its own graph.
 * @param cumulative the quantized model's routers in the joined graph.
 * @param bindings of the quantized model's inputs and constants to the joined graph's.
 */
export function joinHybrids(
  graph: Graph,
  outputs: { reference: Value; quantized: Value },
  pairs: readonly EnteredPair[],
  cumulative: readonly RawRouter[],
  bindings: ReadonlyMap<Value, Value>,
): Hybrids {
  const own = [...graph.inputs, ...graph.constants].map((value): [Value, Value] => [value, value]);
  const swapped = new Map([
    ...own,
    ...pairs.flatMap(({ reference }, i) => replaced(reference, cumulative[i])),
  ]);
  const forced = new Map([
    ...bindings,
    ...pairs.flatMap(({ quantized, reference }) => replaced(quantized, reference)),
  ]);
  const begins = pairs.map(({ layer }) => entryOf(layer));
  const [routing, ...routed] = graft(graph, [outputs.reference, ...begins], swapped, 'routing/');
  const quantized = pairs.map(({ entry }) => entry);
  const [experts, ...computed] = graft(graph, [outputs.quantized, ...quantized], forced, 'experts/');
  return { outputs: { routing, experts }, entries: routed.map((entry, i) => [entry, computed[i]]) };
}

/** Bindings that put another router's decisions in the place of a layer's own. */
function replaced({ weights, indices }: RawRouter, other: RawRouter): [Value, Value][] {
  return [[weights, other.weights], ...(indices ? [[indices, other.indices!] as [Value, Value]] : [])];
}

/** Why one model's layers cannot take the other's routing; empty if they can. */
export function mixingProblem(pairs: readonly RouterPair[]): string {
  const other = pairs.find(({ reference, quantized }) => shapeOf(reference) !== shapeOf(quantized));
  if (!other) return '';
  const { layer, reference, quantized } = other;
  return `the routing of layer ${layer.id} is ${shapeOf(reference)} in one model and ${shapeOf(quantized)} in the other`;
}

function shapeOf({ form, k }: RawRouter): string {
  return k === null ? form : `${form} of ${k}`;
}
