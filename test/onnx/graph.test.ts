import { Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import type { Model } from '../../src/onnx/model.ts';
import { decodeModel } from '../../src/onnx/open-model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { makeModel } from '../helpers/make-model.ts';
import { float32, runModel } from '../helpers/run-model.ts';

const flag = new Tensor('bool', Uint8Array.of(1), []);

/** y = flag ? x + w : x; `spare` is computed and not read. */
function sample(): { model: Model; w: Value; spare: Value } {
  let w!: Value;
  let spare!: Value;
  const model = makeModel({ x: ['float32', [2]], flag: ['bool', []] }, (b, x, condition) => {
    w = b.op('Neg', [b.constant('w', 'float32', [], [1])]);
    spare = b.op('Mul', [x, b.constant('unread', 'float32', [], [5])]);
    const then = b.subgraph('then', (inner) => [inner.op('Add', [x, w])]);
    const otherwise = b.subgraph('else', () => [x]);
    return { y: b.op('If', [condition], { then_branch: then, else_branch: otherwise }) };
  });
  return { model, w, spare };
}

const feeds = { x: float32([3, 4]), flag };

describe('removeDeadCode', () => {
  test('keeps what only a branch reads, and drops the rest', async () => {
    const { model } = sample();
    expect(model.graph.removeDeadCode()).toBe(1);
    expect(model.graph.nodes.map(({ opType }) => opType)).toEqual(['Neg', 'If']);
    expect([...model.graph.constants].map(({ name }) => name)).toEqual(['w']);
    expect(await runModel(model, feeds)).toEqual({ y: [2, 3] });
    expect(model.graph.inputs[0].consumers.map(({ opType }) => opType)).toEqual(['Add', 'Identity']);
  });

  test('takes whole branches, and what only they read', () => {
    const { model, spare } = sample();
    model.graph.outputs = [spare];
    expect(model.graph.removeDeadCode()).toBe(2);
    expect([...model.graph.constants].map(({ name }) => name)).toEqual(['unread']);
    expect(model.graph.inputs[0].consumers).toEqual([spare.producer]);
  });

  test('reaches into branches, and takes what was left for dead nodes there', async () => {
    const { model } = sample();
    const [branch] = [...model.graph.nodes.at(-1)!.subgraphs.values()][0];
    const [add] = branch.nodes;
    add.setInputs([add.inputs[0], add.inputs[0]]);
    const sum = builder(branch, '').op('Neg', add.inputs);
    expect(sum.producer!.graph).toBe(branch);
    expect(model.graph.removeDeadCode()).toBe(3);
    expect(branch.nodes).toEqual([add]);
    expect(model.graph.constants.size).toBe(0);
    expect(await runModel(model, feeds)).toEqual({ y: [6, 8] });
  });
});

describe('replaceAllUses', () => {
  test('reaches the branches', async () => {
    const { model, w, spare } = sample();
    model.graph.replaceAllUses(w, spare);
    model.graph.removeDeadCode();
    expect(w.uses).toEqual([]);
    expect(await runModel(model, feeds)).toEqual({ y: [18, 24] });
  });

  test('lets an output keep its name', async () => {
    const { model, spare } = sample();
    const [output] = model.graph.outputs;
    model.graph.replaceAllUses(output, spare);
    model.graph.removeDeadCode();
    expect(spare.name).toBe('y');
    expect(await runModel(model, feeds)).toEqual({ y: [15, 20] });
  });

  test('lets inputs and other outputs keep theirs', async () => {
    const { model } = sample();
    const [x] = model.graph.inputs;
    model.graph.replaceAllUses(model.graph.outputs[0], x);
    expect([x.name, model.graph.outputs[0].name]).toEqual(['x', 'y']);
    expect(await runModel(model, feeds)).toEqual({ y: [3, 4] });

    const two = makeModel({ a: ['float32', [1]] }, (b, a) => ({ p: b.op('Neg', [a]), q: b.op('Abs', [a]) }));
    two.graph.replaceAllUses(two.graph.outputs[0], two.graph.outputs[1]);
    expect(await runModel(two, { a: float32([-2]) })).toEqual({ p: [2], q: [2] });
  });

  test('renames an initializer in the file too', async () => {
    const model = makeModel({ x: ['float32', [1]] }, (b, x) => ({ y: b.op('Neg', [x]) }));
    const constant = model.graph.addConstant(
      [...makeModel({}, (b) => ({ c: b.constant('c', 'float32', [1], [7]) })).graph.constants][0].tensor!,
    );
    model.graph.replaceAllUses(model.graph.outputs[0], constant);
    expect(await runModel(model, { x: float32([1]) })).toEqual({ y: [7] });
  });
});

/** `y` reads `old`; `spare` and `z` may take its place. */
function replaceable(): Model {
  return makeModel({ x: ['float32', [1]] }, (b, x) => {
    const old = b.op('Neg', [x]);
    return { old, y: b.op('Abs', [old]), spare: b.op('Exp', [x]), z: b.op('Neg', [b.op('Sqrt', [x])]) };
  });
}

describe('redefine', () => {
  test('keeps the value, its name, its readers and its place among the outputs', async () => {
    const { graph, ...rest } = replaceable();
    const [old, , spare, z] = graph.outputs;
    graph.outputs = [old, graph.outputs[1]];
    graph.redefine(old, z);
    expect(graph.removeDeadCode()).toBe(2);
    expect(z.producer).toBeNull();
    expect(spare.uses).toEqual([]);
    expect(await runModel({ ...rest, graph }, { x: float32([4]) })).toEqual({ old: [-2], y: [2] });
  });

  test('gives the readers of the result the value too, and takes an input through an Identity', async () => {
    const { graph, ...rest } = replaceable();
    const [old, y, spare] = graph.outputs;
    graph.redefine(old, spare);
    expect(graph.outputs).toEqual([old, y, old, graph.outputs[3]]);
    graph.outputs = [old, y];
    graph.redefine(old, graph.inputs[0]);
    graph.removeDeadCode();
    expect(await runModel({ ...rest, graph }, { x: float32([-3]) })).toEqual({ old: [-3], y: [3] });
  });
});

describe('sortedNodes', () => {
  test('orders a chain of 100,000 nodes, which is also searched for dead code', () => {
    const graph = chain(100_000);
    const order = graph.sortedNodes();
    expect(order).toHaveLength(100_000);
    expect(order.every((node, i) => i === 0 || node.inputs[0]!.producer === order[i - 1])).toBe(true);
    expect(graph.removeDeadCode()).toBe(0);
  });

  test('keeps an order that is valid already', () => {
    const { model } = sample();
    expect(model.graph.sortedNodes()).toEqual(model.graph.nodes);
  });

  test('puts a producer before the branch that reads it', () => {
    const { model } = sample();
    model.graph.nodes.reverse();
    expect(model.graph.sortedNodes().map(({ opType }) => opType)).toEqual(['Neg', 'If', 'Mul']);
  });

  test('ends on a cycle', () => {
    const graph = chain(3);
    const order = graph.sortedNodes();
    order[0].setInput(0, order[2].outputs[0]);
    expect(new Set(graph.sortedNodes())).toEqual(new Set(order));
  });
});

describe('names', () => {
  test('are unique in the whole model, branches included', () => {
    const { model } = sample();
    expect(model.graph.uniqueName('then/Add')).toBe('then/Add_2');
    expect(model.graph.uniqueName('x')).toBe('x_2');
    expect(model.graph.uniqueName('x')).toBe('x_3');
  });

  test('may be used again in the other branch of a file', () => {
    const { model } = sample();
    const [then, otherwise] = [...model.graph.nodes.at(-1)!.subgraphs.values()].flat();
    otherwise.outputs[0].name = then.outputs[0].name;
    const again = decodeModel(encodeModel(model), 'again.onnx');
    expect(again.graph.nodes).toHaveLength(3);
  });
});

test('a value declares its type and shape', () => {
  const { graph } = decodeModel(
    encodeModel(makeModel({ x: ['float16', ['batch', 3]] }, (b, x) => ({ y: b.op('Neg', [x]) }))),
    'm.onnx',
  );
  const [x] = graph.inputs;
  expect([x.dtype, x.shape]).toEqual(['float16', ['batch', 3]]);
  expect([graph.outputs[0].dtype, graph.outputs[0].shape]).toEqual([undefined, undefined]);
});

/** A chain of `length` nodes, in file order from the last to the first. */
function chain(length: number): Graph {
  const graph = new Graph('chain');
  let [value] = graph.addNode('Start', []).outputs;
  for (let i = 1; i < length; i++) [value] = graph.addNode('Next', [value]).outputs;
  graph.outputs = [value!];
  graph.nodes.reverse();
  return graph;
}
