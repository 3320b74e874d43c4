import { describe, expect, test } from 'vitest';
import { changeRouter } from '../../src/emit/linears/change-router.ts';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { DataType } from '../../src/tensor/dtype.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { transpose } from '../../src/tensor/matrix.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { makeModel } from '../helpers/make-model.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';
import { runOnce } from './run-layer.ts';

const [tokens, hidden, experts] = [5, 16, 4];
const x = gaussian(tokens, hidden, 1);
const weight = gaussian(experts, hidden, 2);
const change = gaussian(experts, hidden, 3);

type Written = (b: Builder, x: Value) => Value;

const writings: Record<string, Written> = {
  MatMul: (b, input) => b.op('MatMul', [input, constant(b, transpose(weight))]),
  'MatMul of a Transpose': (b, input) =>
    b.op('MatMul', [input, b.op('Transpose', [constant(b, weight)], { perm: [1, 0] })]),
  Gemm: (b, input) => b.op('Gemm', [input, constant(b, weight)], { transB: 1 }),
  'Gemm of the other layout': (b, input) => b.op('Gemm', [input, constant(b, transpose(weight))]),
};

function constant(b: Builder, { rows, cols, data }: Matrix, dtype: DataType = 'float32'): Value {
  return b.constant('w', dtype, [rows, cols], [...data]);
}

/** A model with a router and, as `other`, a second reader of its weight. */
function routerModel(written: Written, dtype: DataType = 'float32'): { model: Model; layer: MoeLayer } {
  const model = makeModel({ x: [dtype, ['tokens', hidden]] }, (b, input) => {
    const logits = written(b, input);
    const [stored] = [...b.graph.constants];
    return { logits, other: b.op('Identity', [stored]) };
  });
  const { layer } = syntheticLayer({ hidden, experts });
  const node = model.graph.outputs[0].producer!;
  layer.router.linear = { name: 'w', node, weightInput: 1, bias: null, weight: undefined! };
  return { model, layer };
}

async function logitsOf(model: Model): Promise<Float32Array> {
  const feeds = { x: { dtype: 'float32' as const, dims: [tokens, hidden], data: x.data } };
  return (await runOnce(model, feeds))['logits'].data;
}

function expectedLogits(added: Matrix | null): number[] {
  return Array.from({ length: tokens * experts }, (_, i) => {
    const [t, e] = [Math.floor(i / experts), i % experts];
    let sum = 0;
    for (let c = 0; c < hidden; c++) {
      const w = weight.data[e * hidden + c] + (added?.data[e * hidden + c] ?? 0);
      sum += w * x.data[t * hidden + c];
    }
    return sum;
  });
}

describe('a change of a router', () => {
  test.each(Object.keys(writings))('reaches its logits and can be taken back: %s', async (name) => {
    const { model, layer } = routerModel(writings[name]);
    const before = await logitsOf(model);
    const takeBack = changeRouter(model, layer, change);
    const changed = await logitsOf(model);
    expectedLogits(change).forEach((value, i) => expect(changed[i]).toBeCloseTo(value, 4));
    takeBack();
    expect(await logitsOf(model)).toEqual(before);
    model.graph.removeDeadCode();
    expect([...model.graph.constants].map((value) => value.name)).toEqual(['w']);
  });

  test('leaves other readers of the weight alone', async () => {
    const { model, layer } = routerModel(writings['MatMul']);
    changeRouter(model, layer, change);
    const { other } = await runOnce(model, {
      x: { dtype: 'float32', dims: [tokens, hidden], data: x.data },
    });
    expect(other.data).toEqual(transpose(weight).data);
  });

  test('keeps the element type of the weight', () => {
    const { model, layer } = routerModel(
      (b, input) => b.op('MatMul', [input, constant(b, transpose(weight), 'float16')]),
      'float16',
    );
    changeRouter(model, layer, change);
    const node = layer.router.linear!.node;
    expect(node.inputs[1]!.name).toBe('w_realigned');
    expect(node.inputs[1]!.dtype).toBe('float16');
  });

  test('is refused where the router is no plain linear, with the layer and the reason', () => {
    const { model, layer } = syntheticLayer({ hidden, experts });
    expect(faultOf(() => changeRouter(model, layer, change))).toMatchObject({
      code: 'ROUTER_UNSUPPORTED',
      where: 'layer L0',
      why: 'no linear makes its logits and nothing else',
    });
    const stacked = routerModel((b, input) =>
      b.op('MatMul', [input, b.constant('w', 'float32', [1, hidden, experts], transpose(weight).data)]),
    );
    expect(faultOf(() => changeRouter(stacked.model, stacked.layer, change))).toMatchObject({
      code: 'ROUTER_UNSUPPORTED',
      why: 'its weight has 3 dimensions',
    });
  });
});
