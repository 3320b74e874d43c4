import { builder } from '../../onnx/build.ts';
import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import { positiveAxis } from '../graph/axes.ts';
import { onlyCut } from '../graph/cuts.ts';
import type { Shapes } from '../graph/shapes.ts';

/**
 * Writes a sort of which only the first k are read as the top-k it is. The graph computes the same afterwards.
 * Returns how many there were.
 */
export function cutSorts(graph: Graph, shapes: Shapes): number {
  let count = 0;
  for (const node of graph.nodes) {
    const k = node.opType === 'TopK' && node.inputs[1] ? keptOf(graph, node, shapes) : null;
    if (k === null) continue;
    const slices = readersOf(node);
    node.setInput(1, builder(graph, node.name || node.opType).ints([k], 'k'));
    for (const { outputs, inputs } of slices) graph.replaceAllUses(outputs[0]!, inputs[0]!);
    graph.nodes = graph.nodes.filter((each) => !slices.includes(each));
    for (const slice of slices) slice.detach();
    count += 1;
  }
  return count;
}

function readersOf({ outputs }: Node): Node[] {
  return outputs.flatMap((output) => output?.consumers ?? []);
}

/** How many of its sorted values are read, where every reader cuts off the same. */
function keptOf(graph: Graph, node: Node, shapes: Shapes): number | null {
  const dims = shapes.shapeOf(node.inputs[0]);
  const readers = readersOf(node);
  const isSeen = node.outputs.some((value) => value && graph.outputs.includes(value));
  if (!dims || readers.length === 0 || isSeen || readers.some((reader) => reader.graph !== graph))
    return null;
  const axis = positiveAxis(node.int('axis') ?? -1, dims.length);
  const [k, ...others] = new Set(readers.map((reader) => firstOnly(reader, axis, shapes)));
  const sorted = node.int('sorted') === 0 ? 0 : (shapes.integersOf(node.inputs[1])?.[0] ?? 0);
  return k && others.length === 0 && k < sorted ? k : null;
}

/** The k of a Slice that lets through the first k along one axis; null for any other node. */
function firstOnly({ opType, outputs }: Node, axis: number, shapes: Shapes): number | null {
  const cut = opType === 'Slice' ? onlyCut(outputs[0]!, shapes) : null;
  return cut?.axis === axis && cut.start === 0 && cut.step === 1 ? cut.length : null;
}
