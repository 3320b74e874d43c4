import { expect, test } from 'vitest';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import { newModel } from '../../src/onnx/model.ts';
import { Value } from '../../src/onnx/value.ts';
import { lookAt } from '../../src/run/look-at.ts';
import type { StageWalk } from '../../src/run/stage-walk.ts';

test('a probe is taken off again, and what nothing reads for the moment stays', async () => {
  const graph = new Graph('main');
  const x = new Value('x', { name: 'x', type: { tensorType: { elemType: 1 } } });
  graph.inputs = [x];
  const b = builder(graph, 'm');
  const first = b.op('Transpose', [b.constant('first', 'float32', [2, 2], [1, 2, 3, 4])]);
  const node = b.op('MatMul', [x, first]).producer!;
  graph.outputs = [node.outputs[0]!];
  const model = newModel(graph, { '': 21 }, 10);
  node.setInput(1, b.constant('other', 'float32', [2, 2], [4, 3, 2, 1]));
  const before = { inputs: [...graph.inputs], nodes: [...graph.nodes], constants: [...graph.constants] };

  const seen: number[] = [];
  const walk = { run: async () => void seen.push(graph.nodes.length), close: () => {} } satisfies StageWalk;
  await lookAt({ walk, model, batches: [] }, 0, { passOn: false }, () => ({
    outputs: [b.op('Mul', [node.outputs[0]!, b.constant('two', 'float32', [], [2])])],
    take: () => {},
  }));

  expect(seen).toEqual([3]);
  expect({ inputs: graph.inputs, nodes: graph.nodes, constants: [...graph.constants] }).toEqual(before);
  expect(node.outputs[0]!.uses).toEqual([]);
  node.setInput(1, first);
  expect(graph.removeDeadCode()).toBe(0);
});
