import type { Node } from '../../onnx/node.ts';
import { linearsOf } from '../ffn-experts.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { MoeLayer, Rejection } from '../moe-layer.ts';
import { linearsIn, shapeOf, twinsAmong } from './twins.ts';

/**
 * Linears side by side that are shaped like those of the experts that were found, yet belong to no layer, so that a layer
 * that was not recognised beside others is not left in float without a word. `held` are linears that layers are made of.
 */
export function leftOut(
  facts: GraphFacts,
  layers: readonly MoeLayer[],
  held: ReadonlySet<Node>,
): Rejection[] {
  const shapes = expertShapes(layers, facts);
  const others = linearsIn(facts).filter((linear) => shapes.has(shapeOf(linear)) && !held.has(linear.node));
  return twinsAmong(others).map(({ node, shape, count }) => ({
    node,
    reason: `${count} weights of ${shape}, as experts of ${shapes.get(shape)} have, stand side by side here, but belong to no layer that was found`,
  }));
}

/** The shapes of experts' linears, and the first layer that has each; gate and up may be one linear. */
function expertShapes(layers: readonly MoeLayer[], facts: GraphFacts): Map<string, string> {
  const shapes = new Map<string, string>();
  for (const { id, experts } of layers.toReversed()) {
    for (const { node, weight } of experts.flatMap(linearsOf)) {
      shapes.set(shapeOf({ out: weight.rows, in: weight.cols }), id);
      const linear = facts.position.has(node) && facts.linearOf(node);
      if (linear) shapes.set(shapeOf(linear), id);
    }
  }
  return shapes;
}
