import { describe, expect, it } from 'vitest';
import { inferShapes } from '../../src/moe/graph/shapes.ts';
import { foldIfs } from '../../src/moe/rewrite/fold-ifs.ts';
import { Graph } from '../../src/onnx/graph.ts';
import { builder } from './helpers/build.ts';

/** `If (x.shape[axis] == 1) squeeze(x) else x`, as TorchScript writes it. */
function squeezeIf(axis: number): { graph: Graph; opTypes: () => string[]; fold: () => number } {
  const { graph, input, add, ints, index, output } = builder();
  const x = input('x', [1, 'n']);
  const size = add('Gather', [add('Shape', [x]), index(axis)], { axis: 0 });
  const node = graph.addNode('If', [add('Equal', [size, index(1)])], { outputs: ['y'] });
  const [squeezed, kept] = [new Graph('then', graph), new Graph('else', graph)];
  squeezed.outputs = squeezed.addNode('Squeeze', [x, ints(axis)], { outputs: ['squeezed'] }).outputs as [];
  kept.outputs = kept.addNode('Identity', [x], { outputs: ['kept'] }).outputs as [];
  node.addSubgraphs('then_branch', [squeezed]);
  node.addSubgraphs('else_branch', [kept]);
  output(add('Relu', [node.outputs[0]]));
  return {
    graph,
    opTypes: () => graph.sortedNodes().map(({ opType }) => opType),
    fold: () => foldIfs(graph, inferShapes(graph, graph.sortedNodes())),
  };
}

describe('foldIfs', () => {
  it('takes the branch that shapes decide', () => {
    const { graph, fold, opTypes } = squeezeIf(0);
    expect(fold()).toBe(1);
    expect(opTypes()).not.toContain('If');
    expect(graph.outputs[0].producer!.inputs[0]!.producer!.opType).toBe('Squeeze');
  });

  it('leaves an If that depends on an unknown size', () => {
    const { fold, opTypes } = squeezeIf(1);
    expect(fold()).toBe(0);
    expect(opTypes()).toContain('If');
  });
});
