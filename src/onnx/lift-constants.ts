import { countOf } from '../tensor/dtype.ts';
import { constantOf } from './constant.ts';
import type { Graph } from './graph.ts';
import type { Node } from './node.ts';
import type { Tensor } from './tensor.ts';

/**
 * Turns Constant nodes of a graph that hold weights into initializers of the same name, as some exporters and constant
 * folding leave them: only initializers are counted, written to external data and shared between sessions. Shapes,
 * axes and single numbers stay where they are. Returns how many went.
 */
export function liftConstants(graph: Graph): number {
  const lifted = new Set<Node>();
  for (const node of graph.nodes) {
    const [value] = node.outputs;
    if (node.opType !== 'Constant' || !value || graph.outputs.includes(value)) continue;
    const tensor = constantOf(value);
    if (!tensor || !isWeight(tensor)) continue;
    Object.assign(value, { producer: null, tensor });
    graph.constants.add(value);
    lifted.add(node);
  }
  graph.nodes = graph.nodes.filter((node) => !lifted.has(node));
  return lifted.size;
}

function isWeight({ source: { dtype, shape } }: Tensor): boolean {
  return countOf(shape) > 1 && !/^(u?int(32|64)|bool|string)$/.test(dtype);
}
