import { builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';

/** Moves the weights of a model from initializers into Constant nodes, as some exporters write them. */
export function moveIntoNodes({ graph }: Model): void {
  const b = builder(graph, '');
  for (const value of graph.constants) {
    const { dtype, shape } = value.tensor!.source;
    if (dtype !== 'float32' || shape.length === 0) continue;
    const constant = b.op('Constant', [], { value: { tensor: value.tensor! } });
    graph.constants.delete(value);
    graph.replaceAllUses(value, constant);
    [value.name, constant.name] = [constant.name, value.name];
  }
}
