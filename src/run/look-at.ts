import type { Batch } from '../data/batches.ts';
import type { Graph } from '../onnx/graph.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { Probe } from './probe.ts';
import type { StageRun, StageWalk } from './stage-walk.ts';
import { addValidInput } from './valid-input.ts';

/**
 * Runs one stage of a walk with a probe that is taken off the model again. For what `attach` is given see `addValidInput`.
 * @throws Fault those of {@link StageWalk}
 */
export async function lookAt<P extends Probe>(
  { walk, model, batches }: { walk: StageWalk; model: Model; batches: readonly Batch[] },
  index: number,
  purpose: Pick<StageRun, 'only' | 'passOn'>,
  attach: (valid: Value | null) => P,
): Promise<P> {
  const takeOff = additionsTo(model.graph);
  const valid = addValidInput(model, batches);
  const probe = attach(valid);
  try {
    await walk.run(model, index, { ...purpose, probes: [probe], valid });
    return probe;
  } finally {
    takeOff();
  }
}

/** Takes away what a graph is given from now on, and nothing else: what is dead now may be read again later. */
function additionsTo(graph: Graph): () => void {
  const [inputs, nodes, constants] = [[...graph.inputs], new Set(graph.nodes), new Set(graph.constants)];
  return () => {
    graph.inputs = inputs;
    for (const node of graph.nodes) if (!nodes.has(node)) node.detach();
    graph.nodes = graph.nodes.filter((node) => nodes.has(node));
    for (const value of graph.constants) if (!constants.has(value)) graph.constants.delete(value);
  };
}
