import { graft } from './graft.ts';
import { Graph } from './graph.ts';
import type { Model } from './model.ts';
import { Value } from './value.ts';

/**
 * The part of a model that computes `outputs` from `cuts` and from graph inputs, as a model of its own; the given one
 * stays as it is. Every cut value becomes a graph input of the same name. Weights are shared by reference.
 * Outputs keep their names.
 */
export function extractModel(model: Model, outputs: readonly Value[], cuts: readonly Value[]): Model {
  const graph = new Graph(model.graph.name);
  const bindings = new Map(
    [...model.graph.inputs, ...cuts].map((value) => [
      value,
      new Value(graph.uniqueName(value.name), value.info),
    ]),
  );
  graph.outputs = graft(graph, outputs, bindings, '');
  graph.inputs = [...bindings.values()].filter(({ uses }) => uses.length > 0);
  return { ...model, graph };
}
