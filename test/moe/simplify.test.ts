import { expect, test } from 'vitest';
import { simplify } from '../../src/moe/rewrite/simplify.ts';
import { builder as bareBuilder } from '../../src/onnx/build.ts';
import { allNodes, Graph } from '../../src/onnx/graph.ts';
import { builder } from './helpers/build.ts';

/** The operators that are left of `If (x.shape[axis] == 1) x · 1 else x`, for x of shape [1, n]. */
function left(axis: number): string[] {
  const { graph, input, add, index, output } = builder();
  const x = input('x', [1, 'n']);
  const size = add('Gather', [add('Shape', [x]), index(axis)], { axis: 0 });
  const node = graph.addNode('If', [add('Equal', [size, index(1)])], { outputs: ['y'] });
  const one = bareBuilder(graph, 'c').constant('one', 'float32', [], [1]);
  const [product, kept] = [new Graph('then', graph), new Graph('else', graph)];
  const [weighted] = product.addNode('Mul', [x, one], { outputs: ['weighted'] }).outputs;
  product.outputs = product.addNode('Relu', [weighted], { outputs: ['product'] }).outputs as [];
  kept.outputs = kept.addNode('Identity', [x], { outputs: ['kept'] }).outputs as [];
  node.addSubgraphs('then_branch', [product]);
  node.addSubgraphs('else_branch', [kept]);
  output(node.outputs[0]!);
  simplify(graph);
  return [...allNodes(graph)].map(({ opType }) => opType);
}

test('what a branch that is taken brings is simplified too', () => {
  expect(left(0)).toEqual(['Shape', 'Gather', 'Equal', 'Relu']);
});

test('so is the body of a node that stays', () => {
  expect(left(1)).toEqual(['Shape', 'Gather', 'Equal', 'If', 'Relu', 'Identity']);
});
