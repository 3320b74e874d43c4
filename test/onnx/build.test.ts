import { Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { decodeModel } from '../../src/onnx/open-model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';
import { makeModel } from '../helpers/make-model.ts';
import { float32, runModel } from '../helpers/run-model.ts';

describe('builder', () => {
  test('emits nodes and constants that ONNX Runtime runs', async () => {
    const model = makeModel({ x: ['float32', ['n', 2]] }, (b, x) => {
      const weight = b.constant('weight', 'float32', [2, 2], [1, 2, 3, 4]);
      const product = b.op('MatMul', [x, weight]);
      return { y: b.op('ReduceSum', [product, b.ints([1])], { keepdims: 0 }) };
    });
    expect(await runModel(model, { x: float32([1, 1, 2, 0], [2, 2]) })).toEqual({ y: [10, 6] });
  });

  test('writes every kind of attribute', async () => {
    const model = makeModel({ x: ['float32', [1, 4]] }, (b, x) => {
      const leaky = b.op('LeakyRelu', [x], { alpha: { f: 0.5 } });
      const [left, right] = b.ops(2, 'Split', [leaky], { axis: 1, num_outputs: 2 });
      const two = b.op('Constant', [], { value: { tensor: makeTensor('two', 'float32', [1], floats(2)) } });
      const listed = b.op('Constant', [], { value_floats: { floats: [10, 20] } });
      const turned = b.op('Transpose', [b.op('Mul', [right, two])], { perm: [1, 0] });
      return { left, sum: b.op('Add', [turned, listed]) };
    });
    expect(await runModel(model, { x: float32([-2, 2, 3, 4], [1, 4]) })).toEqual({
      left: [-1, 2],
      sum: [16, 26, 18, 28],
    });
    const decoded = decodeModel(encodeModel(model), 'again.onnx');
    expect(decoded.graph.nodes.map((node) => node.opType)).toEqual(
      model.graph.sortedNodes().map((node) => node.opType),
    );
  });

  test('gives names that start with the prefix and never repeat', () => {
    const { graph } = makeModel({ x: ['float32', [1]] }, (b, x) => ({ y: b.op('Neg', [b.op('Neg', [x])]) }));
    expect(graph.nodes.map((node) => node.name)).toEqual(['Neg', 'Neg_2']);
  });

  test('builds branches that read values of the graph around them', async () => {
    const model = makeModel({ x: ['float32', [2]], flag: ['bool', []] }, (b, x, flag) => {
      const one = b.constant('one', 'float32', [], [1]);
      const then = b.subgraph('then', (inner) => [inner.op('Add', [x, one])]);
      const otherwise = b.subgraph('else', () => [x]);
      return { y: b.op('If', [flag], { then_branch: then, else_branch: otherwise }) };
    });
    const run = async (flag: number): Promise<number[]> => {
      const feeds = { x: float32([1, 2]), flag: new Tensor('bool', Uint8Array.of(flag), []) };
      return (await runModel(model, feeds))['y'];
    };
    expect([await run(1), await run(0)]).toEqual([
      [2, 3],
      [1, 2],
    ]);
  });

  test('takes no fraction for an int', () => {
    expect(() =>
      makeModel({ x: ['float32', [1]] }, (b, x) => ({ y: b.op('LeakyRelu', [x], { alpha: 0.5 }) })),
    ).toThrow(/pass \{ f: 0.5 \}/);
  });
});

function floats(...values: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}
