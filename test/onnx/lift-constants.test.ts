import { expect, test } from 'vitest';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import { liftConstants } from '../../src/onnx/lift-constants.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';

test('weights in Constant nodes become initializers of the same name; shapes and outputs stay', () => {
  const graph = new Graph('test');
  const b = builder(graph, '');
  const weight = b.op(
    'Constant',
    [],
    { value: { tensor: makeTensor('', 'float32', [2], new Uint8Array(8)) } },
    { name: 'weight' },
  );
  const packed = b.op(
    'Constant',
    [],
    { value: { tensor: makeTensor('', 'uint8', [3], new Uint8Array(3)) } },
    { name: 'packed' },
  );
  const shape = b.op('Constant', [], { value_ints: [2, 1] }, { name: 'shape' });
  const scalar = b.op('Constant', [], { value_float: { f: 2 } }, { name: 'scalar' });
  const output = b.op('Constant', [], { value_floats: { floats: [1, 2] } }, { name: 'output' });
  const scaled = b.op('Reshape', [b.op('Mul', [weight, scalar]), shape]);
  graph.outputs = [scaled, b.op('Neg', [packed]), output];
  expect(liftConstants(graph)).toBe(2);
  expect([...graph.constants].map(({ name, shape: dims }) => [name, dims])).toEqual([
    ['weight', [2]],
    ['packed', [3]],
  ]);
  expect(graph.nodes.filter(({ opType }) => opType === 'Constant')).toHaveLength(3);
  expect(weight.producer).toBeNull();
});
