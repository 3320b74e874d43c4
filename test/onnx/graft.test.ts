import { expect, test } from 'vitest';
import { builder } from '../../src/onnx/build.ts';
import { graft } from '../../src/onnx/graft.ts';
import { Graph } from '../../src/onnx/graph.ts';
import type { Model } from '../../src/onnx/model.ts';
import { Value } from '../../src/onnx/value.ts';
import { openSession, toFloats } from '../../src/runtime/session.ts';

function floatInput(graph: Graph, name: string): Value {
  const value = new Value(graph.uniqueName(name), { name, type: { tensorType: { elemType: 1 } } });
  graph.inputs.push(value);
  return value;
}

function modelOf(graph: Graph): Model {
  return {
    path: 'graft.onnx',
    byteLength: 0,
    graph,
    irVersion: 10,
    opsets: new Map([['', 21]]),
    metadata: [],
    functions: [],
    proto: {},
  };
}

async function run(graph: Graph, feeds: Record<string, number[]>): Promise<Record<string, number[]>> {
  const session = await openSession(modelOf(graph));
  const tensors = Object.entries(feeds).map(([name, values]) => [
    name,
    { dtype: 'float32' as const, dims: [values.length], data: Float32Array.from(values) },
  ]);
  const results = await session.run(Object.fromEntries(tensors));
  await session.release();
  return Object.fromEntries(Object.entries(results).map(([name, value]) => [name, [...toFloats(value)]]));
}

/** y = If(sum(x) > 0) then x + c else x * c, with the constant outside the branches. */
function branching(): { graph: Graph; input: Value; output: Value } {
  const graph = new Graph('source');
  const input = floatInput(graph, 'x');
  const b = builder(graph, '');
  const c = b.constant('c', 'float32', [1], [3]);
  const positive = b.op('Greater', [
    b.op('ReduceSum', [input], { keepdims: 0 }),
    b.constant('zero', 'float32', [], [0]),
  ]);
  const output = b.op('If', [positive], {
    then_branch: b.subgraph('then', (inner) => [inner.op('Add', [input, c])]),
    else_branch: b.subgraph('else', (inner) => [inner.op('Mul', [input, c])]),
  });
  graph.outputs = [output];
  return { graph, input, output };
}

test('a grafted part computes what it did, on the value it was bound to', async () => {
  const source = branching();
  const target = new Graph('target');
  const x = floatInput(target, 'x');
  const doubled = builder(target, '').op('Add', [x, x]);
  const [copy] = graft(target, [source.output], new Map([[source.input, doubled]]), 'copy/');
  target.outputs = [copy];
  const name = copy.name;
  expect(await run(target, { x: [1, 2] })).toEqual({ [name]: [5, 7] });
  expect(await run(target, { x: [-1, -2] })).toEqual({ [name]: [-6, -12] });
});

test('two grafts of one part live side by side, and the source stays as it was', async () => {
  const source = branching();
  const before = source.graph.nodes.length;
  const target = new Graph('target');
  const x = floatInput(target, 'x');
  const copies = ['a/', 'b/'].map(
    (prefix) => graft(target, [source.output], new Map([[source.input, x]]), prefix)[0],
  );
  target.outputs = copies;
  const results = Object.values(await run(target, { x: [2] }));
  expect(results).toEqual([[5], [5]]);
  expect(source.graph.nodes).toHaveLength(before);
});

test('an unbound graph input becomes an input of the target', () => {
  const source = branching();
  const target = new Graph('target');
  graft(target, [source.output], new Map(), 'copy/');
  expect(target.inputs.map(({ name }) => name)).toEqual(['copy/x']);
});
