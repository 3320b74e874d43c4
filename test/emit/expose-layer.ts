import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import type { Model } from '../../src/onnx/model.ts';

/** Makes what the linears of an emitted layer compute, for all pairs, outputs of the model. */
export function exposeLayer({ graph }: Model, { id, experts }: MoeLayer): void {
  const made = new Map(graph.nodes.flatMap(({ outputs }) => outputs).map((value) => [value!.name, value!]));
  for (const part of [...(experts[0].gate ? ['gate'] : []), 'up', 'hidden', 'results']) {
    const value = made.get(`moeq/${id}/${part}`);
    if (!value) throw new Error(`there is no value moeq/${id}/${part}`);
    graph.outputs.push(value);
  }
}
