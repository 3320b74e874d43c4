import { expect, test } from 'vitest';
import { builder } from '../../src/onnx/build.ts';
import { graft } from '../../src/onnx/graft.ts';
import { Graph } from '../../src/onnx/graph.ts';
import type { DimensionProto } from '../../src/onnx/messages.ts';
import type { Model } from '../../src/onnx/model.ts';
import { Node } from '../../src/onnx/node.ts';
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

test('sizes that depend on data have names of their own in a copy', () => {
  const other = new Graph('other');
  const input = floatInput(other, 'x');
  const b = builder(other, 'n');
  const output = b.op('NonZero', [input]);
  const dim: DimensionProto[] = [{ dimValue: 1 }, { dimParam: 'u0' }];
  output.info = { name: output.name, type: { tensorType: { elemType: 7, shape: { dim } } } };
  const target = new Graph('target');
  const bound = floatInput(target, 'x');
  const [copy] = graft(target, [output], new Map([[input, bound]]), 'copy/');
  expect(copy.shape).toEqual([1, 'copy/u0']);
  expect(output.shape).toEqual([1, 'u0']);
});

test('nodes without names stay without, so that two of them have not the same', async () => {
  const other = new Graph('other');
  const input = floatInput(other, 'x');
  const value = (name: string): Value => new Value(other.uniqueName(name));
  const nodes = ['Abs', 'Neg'].map((opType) => ({ opType, output: value(opType) }));
  let last = input;
  for (const { opType, output } of nodes) {
    const node = new Node(other, { opType, name: '' }, [], [output]);
    node.setInput(0, last);
    other.nodes.push(node);
    last = output;
  }
  const target = new Graph('target');
  const bound = floatInput(target, 'x');
  const [copy] = graft(target, [last], new Map([[input, bound]]), 'copy/');
  target.outputs = [copy];
  expect(await run(target, { x: [2] })).toEqual({ [copy.name]: [-2] });
});
