import { describe, expect, test } from 'vitest';
import type { DenseScheme } from '../../src/emit/linears/quantize-dense.ts';
import { quantizeDense } from '../../src/emit/linears/quantize-dense.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import { clipScale } from '../../src/quantize/clip-scale.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { encodeNumbers } from '../../src/tensor/encode.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { transpose } from '../../src/tensor/matrix.ts';
import { makeModel } from '../helpers/make-model.ts';
import { gaussian } from '../quantize/random.ts';
import { rowError, slowLinear } from './expert-twin.ts';
import { runOnce } from './run-layer.ts';

const weight = gaussian(24, 64, 1);
const bias = gaussian(1, 24, 2).data;
const x = gaussian(6, 64, 3);

/** The ways a linear is written. */
const writings: Record<string, (b: Builder, x: Value) => Value> = {
  MatMul: (b, input) => b.op('MatMul', [input, constant(b, transpose(weight))]),
  'MatMul of a Transpose': (b, input) =>
    b.op('MatMul', [input, b.op('Transpose', [constant(b, weight)], { perm: [1, 0] })]),
  Gemm: (b, input) => b.op('Gemm', [flat(b, input), constant(b, weight), biasOf(b)], { transB: 1 }),
  'Gemm of the other layout': (b, input) =>
    b.op('Gemm', [flat(b, input), constant(b, transpose(weight)), biasOf(b)]),
};

function constant(b: Builder, { rows, cols, data }: Matrix): Value {
  return b.constant('w', 'float32', [rows, cols], data);
}

function biasOf(b: Builder): Value {
  return b.constant('bias', 'float32', [24], bias);
}

function flat(b: Builder, input: Value): Value {
  return b.op('Reshape', [input, b.ints([-1, 64])]);
}

describe.each(['w8a8', 'w4a8', 'w4a16'] as const)('dense scheme %s equals the reference', (scheme) => {
  test.each(Object.keys(writings).flatMap((name) => [[name, false] as const, [name, true] as const]))(
    'for %s, portable %s',
    async (name, portable) => {
      const model = makeModel({ x: ['float32', ['batch', 'sequence', 64]] }, (b, input) => ({
        y: writings[name](b, input),
      }));
      const { quantized, refused } = quantizeDense(model, [], scheme, portable);
      expect(quantized).toEqual([{ tensor: 'w', role: 'head' }]);
      expect(refused).toEqual([]);
      model.graph.removeDeadCode();
      expect([...model.graph.constants].map((value) => value.name)).not.toContain('w');
      const { y } = await runOnce(model, { x: { dtype: 'float32', dims: [2, 3, 64], data: x.data } });
      expect(y.dims).toEqual(name.startsWith('Gemm') ? [6, 24] : [2, 3, 24]);
      const expected = reference(scheme, portable, name.startsWith('Gemm') ? bias : null);
      const error = rowError({ rows: 6, cols: 24, data: y.data }, expected);
      expect(error).toBeLessThan(scheme === 'w4a16' && !portable ? 2e-2 : 1e-5);
    },
  );
});

function reference(scheme: DenseScheme, portable: boolean, added: Float32Array | null): Matrix {
  const resolved = resolveTarget({ scheme, target: portable ? 'qdq' : 'auto' });
  const quantized = quantizeRtn(weight, {
    bits: resolved.scheme.weight.bits,
    ...resolved.groupsOf(64),
    fit: clipScale,
  });
  return slowLinear({ weight: quantized, bias: added }, x, resolved.gridOf(x.cols));
}

test('float16 models stay float16 between linears', async () => {
  const model = makeModel({ x: ['float16', ['n', 64]] }, (b, input) => ({
    y: b.op('MatMul', [input, b.constant('w', 'float16', [64, 24], [...transpose(weight).data])]),
  }));
  quantizeDense(model, [], 'w8a8', false);
  const data = new Uint16Array(encodeNumbers(x.data, 'float16').buffer);
  const { y } = await runOnce(model, { x: { dtype: 'float16', dims: [6, 64], data } });
  expect(
    rowError(
      { rows: 6, cols: 24, data: y.data },
      slowLinear({ weight: quantizeRtn(weight, { bits: 8, groupSize: 64 }), bias: null }, x, {
        bits: 8,
        width: 64,
        block: 64,
      }),
    ),
  ).toBeLessThan(0.02);
});

test('what cannot be quantized is left and reported', () => {
  const model = makeModel({ x: ['float32', [2, 64]], ids: ['int64', ['n']] }, (b, input, ids) => {
    const table = b.constant('table', 'float32', [100, 64], gaussian(100, 64, 4).data);
    const narrow = b.op('MatMul', [input, b.constant('narrow', 'float32', [64, 4], gaussian(64, 4, 5).data)]);
    const scaled = b.op('Gemm', [input, b.constant('scaled', 'float32', [64, 24], transpose(weight).data)], {
      alpha: { f: 0.5 },
    });
    const stacked = b.op('MatMul', [
      input,
      b.constant('stacked', 'float32', [3, 64, 24], gaussian(192, 24, 6).data),
    ]);
    return { embedded: b.op('Gather', [table, ids]), narrow, scaled, stacked };
  });
  const { quantized, refused } = quantizeDense(model, [], 'w8a8', false);
  expect(quantized).toEqual([]);
  expect(Object.fromEntries(refused.map(({ tensor, reason }) => [tensor, reason]))).toEqual({
    narrow: 'it is only 4 by 64',
    scaled: 'its Gemm scales or transposes its input',
    stacked: 'its weight has 3 dimensions',
  });
});

test('weights that are not read as they are stored are refused by name', () => {
  const model = makeModel({ x: ['float32', [3, 64]], flag: ['bool', []] }, (b, input, flag) => {
    const halves = b.constant('halves', 'float16', [64, 24], new Uint16Array(64 * 24));
    const left = b.constant('left', 'float32', [24, 64], weight.data);
    const inside = b.constant('inside', 'float32', [64, 24], transpose(weight).data);
    const branch = (name: string, w: Value) => b.subgraph(name, (inner) => [inner.op('MatMul', [input, w])]);
    const either = b.op('If', [flag], {
      then_branch: branch('then', inside),
      else_branch: branch('else', inside),
    });
    const wide = b.op('MatMul', [input, b.op('Cast', [halves], { to: 1 })]);
    const turned = b.op('MatMul', [left, b.op('Transpose', [input], { perm: [1, 0] })]);
    return { either: b.op('Relu', [either]), wide: b.op('Relu', [wide]), turned: b.op('Relu', [turned]) };
  });
  const { quantized, refused } = quantizeDense(model, [], 'w8a8', false);
  expect(quantized).toEqual([]);
  const reason = expect.stringContaining('as it is stored') as string;
  expect(refused.toSorted((a, b) => a.tensor.localeCompare(b.tensor))).toEqual([
    { tensor: 'halves', role: 'attention', reason },
    { tensor: 'inside', role: 'attention', reason },
    { tensor: 'left', role: 'attention', reason },
  ]);
});

test('a weight keeps the name it has in the source, whatever that ends with', () => {
  const model = makeModel({ x: ['float32', [3, 64]] }, (b, input) => ({
    y: b.op('MatMul', [input, b.constant('own_smoothed', 'float32', [64, 24], transpose(weight).data)]),
  }));
  expect(quantizeDense(model, [], 'w8a8', false).quantized).toEqual([
    { tensor: 'own_smoothed', role: 'head' },
  ]);
});

test.each(['w8a8', 'w4a16'] as const)(
  'a weight that two linears share is stored once: %s',
  async (scheme) => {
    const model = makeModel({ x: ['float32', [6, 64]] }, (b, input) => {
      const shared = constant(b, transpose(weight));
      return {
        first: b.op('MatMul', [input, shared]),
        second: b.op('MatMul', [b.op('Neg', [input]), shared]),
      };
    });
    const { quantized, references } = quantizeDense(model, [], scheme, false);
    expect(quantized).toEqual([{ tensor: 'w', role: 'head' }]);
    expect(references).toHaveLength(1);
    model.graph.removeDeadCode();
    const weights = [...model.graph.constants].filter(({ name }) =>
      name.startsWith('moeq/dense/w/linear/weight'),
    );
    expect(weights).toHaveLength(1);
    const { first, second } = await runOnce(model, { x: { dtype: 'float32', dims: [6, 64], data: x.data } });
    const negated = second.data.map((value: number) => -value);
    expect(
      rowError({ rows: 6, cols: 24, data: negated }, { rows: 6, cols: 24, data: first.data }),
    ).toBeLessThan(2e-2);
  },
);
