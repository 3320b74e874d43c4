import { expect, test } from 'vitest';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import { requireDefined } from '../../src/onnx/require-defined.ts';
import { Value } from '../../src/onnx/value.ts';

/** y = If(c) then x + w else x, with w a constant around the branches. */
function branching(): { graph: Graph; weight: Value } {
  const graph = new Graph('main');
  const [x, c] = ['x', 'c'].map((name) => new Value(name));
  graph.inputs = [x, c];
  const weight = builder(graph, 'w').constant('weight', 'float32', [], [1]);
  const node = graph.addNode('If', [c], { outputs: ['y'] });
  const [added, kept] = [new Graph('then', graph), new Graph('else', graph)];
  added.outputs = added.addNode('Add', [x, weight], { outputs: ['sum'] }).outputs as Value[];
  kept.outputs = [x];
  node.addSubgraphs('then_branch', [added]);
  node.addSubgraphs('else_branch', [kept]);
  graph.outputs = node.outputs as Value[];
  return { graph, weight };
}

test('a graph whose branches read what is around them is whole', () => {
  expect(() => requireDefined(branching().graph)).not.toThrow();
});

test('a constant that was removed is missed where it is read', () => {
  const { graph, weight } = branching();
  graph.constants.delete(weight);
  expect(() => requireDefined(graph)).toThrow(`reads ${weight.name}, which nothing defines`);
});

test('an output that nothing makes is missed', () => {
  const { graph } = branching();
  graph.outputs = [new Value('nowhere')];
  expect(() => requireDefined(graph)).toThrow('nowhere');
});
