import { expect, test } from 'vitest';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import type { Node } from '../../src/onnx/node.ts';
import { sinkConstants } from '../../src/onnx/sink-constants.ts';
import type { Value } from '../../src/onnx/value.ts';

const operators = (nodes: readonly Node[]): string[] => nodes.map(({ opType }) => opType);

/** A condition, and a constant cast to float that stands outside, negated and squared. */
function parts(): { graph: Graph; input: Value; negative: Value; square: Value } {
  const graph = new Graph('outer');
  const input = graph.addInput('x', 'bool', 0);
  const b = builder(graph, '');
  const cast = b.op('Cast', [b.constant('c', 'int8', [2], [1, 2])], { to: 1 });
  return { graph, input, negative: b.op('Neg', [cast]), square: b.op('Mul', [cast, cast]) };
}

test('what follows from constants alone and is read only inside goes inside; the constants stay', () => {
  const { graph, input, negative, square } = parts();
  const b = builder(graph, '');
  const inner = b.subgraph('inner', (inside) => [inside.op('Add', [negative, square])]);
  graph.outputs = [b.op('If', [input], { then_branch: inner, else_branch: inner })];
  sinkConstants(inner);
  expect(operators(graph.nodes)).toEqual(['If']);
  expect(operators(inner.sortedNodes()).toSorted()).toEqual(['Add', 'Cast', 'Mul', 'Neg']);
  expect([...graph.constants].map(({ name }) => name)).toEqual(['c']);
  expect(inner.constants.size).toBe(0);
  expect(inner.nodes.every((node) => node.outputs.every((value) => value?.producer === node))).toBe(true);
});

test('what is read outside too stays, with what it is made of', () => {
  const { graph, input, negative, square } = parts();
  const b = builder(graph, '');
  const inner = b.subgraph('inner', (inside) => [inside.op('Add', [negative, square])]);
  const chosen = b.op('If', [input], { then_branch: inner, else_branch: inner });
  graph.outputs = [b.op('Add', [chosen, square])];
  sinkConstants(inner);
  expect(operators(graph.nodes)).toEqual(['Cast', 'Mul', 'If', 'Add']);
  expect(operators(inner.nodes)).toEqual(['Add', 'Neg']);
});

test('what depends on an input, or is an output, stays', () => {
  const { graph, input, negative } = parts();
  const b = builder(graph, '');
  const float = b.op('Cast', [input], { to: 1 });
  const inner = b.subgraph('inner', (inside) => [inside.op('Add', [negative, float])]);
  graph.outputs = [b.op('If', [input], { then_branch: inner, else_branch: inner }), negative];
  sinkConstants(inner);
  expect(operators(inner.nodes)).toEqual(['Add']);
  expect(graph.nodes).toContain(float.producer);
  expect(graph.nodes).toContain(negative.producer);
});
