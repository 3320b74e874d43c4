import type { Graph } from '../../onnx/graph.ts';
import type { Shapes } from '../graph/shapes.ts';
import { inferShapes } from '../graph/shapes.ts';
import { cutSorts } from './cut-sorts.ts';
import { dropIdle } from './drop-idle.ts';
import { foldIfs } from './fold-ifs.ts';
import { partSums } from './part-sums.ts';
import { spellEllipses } from './spell-ellipses.ts';
import { splitEinsums } from './split-einsums.ts';

/**
 * Says a graph and the bodies in it more plainly: what decides nothing is taken out, and what does two things at once is
 * written as two. They compute the same afterwards. `outer` are the shapes of the graph that a body stands in.
 */
export function simplify(graph: Graph, outer?: Shapes): void {
  const infer = (): Shapes => inferShapes(graph, graph.sortedNodes(), outer);
  let shapes: Shapes;
  do {
    dropIdle(graph);
    splitEinsums(graph);
    shapes = infer();
  } while (foldIfs(graph, shapes) + spellEllipses(graph, shapes) > 0);
  if (cutSorts(graph, shapes) + partSums(graph) > 0) shapes = infer();
  const bodies = graph.nodes.flatMap(({ innerGraphs }) => innerGraphs);
  for (const body of bodies) simplify(body, shapes);
}
