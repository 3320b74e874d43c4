import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { isConstant } from './constant.ts';
import type { LinearNode } from './linear-node.ts';
import { linearNode } from './linear-node.ts';
import { isShapeInput, shapeOps } from './operators.ts';
import type { Shapes } from './shapes.ts';
import { inferShapes } from './shapes.ts';

/** What is worked out once for a graph and asked for by every rule. */
export interface GraphFacts {
  graph: Graph;
  /** In topological order. */
  nodes: readonly Node[];
  position: ReadonlyMap<Node, number>;
  shapes: Shapes;
  /** Values that depend on constants and shapes only, never on data. */
  isDataless(value: Value): boolean;
  linearOf(node: Node): LinearNode | null;
}

/** Works a graph through. `outer` are the facts of the graph that it stands in as a body. */
export function graphFacts(graph: Graph, outer?: GraphFacts): GraphFacts {
  const nodes = graph.sortedNodes();
  const shapes = inferShapes(graph, nodes, outer?.shapes);
  const dataless = datalessValues(nodes);
  const linears = new Map<Node, LinearNode | null>();
  return {
    graph,
    nodes,
    position: new Map(nodes.map((node, index) => [node, index])),
    shapes,
    isDataless: (value) => isConstant(value) || dataless.has(value) || (outer?.isDataless(value) ?? false),
    linearOf: (node) => {
      const known = linears.get(node);
      if (known !== undefined) return known;
      const linear = linearNode(node, shapes);
      linears.set(node, linear);
      return linear;
    },
  };
}

function datalessValues(nodes: readonly Node[]): Set<Value> {
  const dataless = new Set<Value>();
  const isFree = (value: Value | null): boolean => !value || isConstant(value) || dataless.has(value);
  for (const node of nodes) {
    const free =
      shapeOps.has(node.opType) ||
      node.inputs.every((value, index) => isShapeInput(node, index) || isFree(value));
    if (free && node.subgraphs.size === 0)
      for (const output of node.outputs) if (output) dataless.add(output);
  }
  return dataless;
}
