import type { Graph } from '../../onnx/graph.ts';
import { allNodes, readsOf } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { MoeLayer } from '../moe-layer.ts';
import { linearOps } from './levels.ts';
import type { Region } from './region.ts';
import { fromRouter } from './region.ts';

/**
 * Keeps a layer that was found in the body of an If, Loop or Scan from being written anew: its values exist only while
 * the body runs, where neither calibration nor verification can look at them.
 */
export function refuseInBody(layer: MoeLayer, { owner }: Graph): void {
  const cure =
    owner?.opType === 'If' ? 'quantize the models it was merged from' : 'export the model with it unrolled';
  const reason = `it stands in the body of ${labelOf(owner!)}, and only layers outside are written anew: ${cure}`;
  layer.boundary = null;
  layer.quantizable = false;
  layer.reason = [layer.reason, reason].filter(Boolean).join('; ');
}

/** Why no experts were found, where a node with bodies that hold linears reads the routing: they are not looked into. */
export function expertsInBody({ colour }: Region, { nodes }: GraphFacts): string | null {
  const isRouted = (node: Node): boolean =>
    readsOf(node).some((value) => (colour.get(value) ?? 0) & fromRouter);
  const found = nodes.find((node) => node.subgraphs.size > 0 && isRouted(node) && holdsLinear(node));
  return found ? `what it chooses runs in the body of ${labelOf(found)}, which is not looked into` : null;
}

function holdsLinear({ innerGraphs }: Node): boolean {
  return innerGraphs
    .flatMap((graph) => [...allNodes(graph)])
    .some(({ opType }) => linearOps.includes(opType));
}

function labelOf({ opType, name }: Node): string {
  return name ? `the ${opType} ${name}` : `an ${opType}`;
}
