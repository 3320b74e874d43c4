import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { emitRouter } from '../../src/emit/linears/emit-router.ts';
import { routerLinear } from '../../src/emit/linears/router-linear.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { quantizeRouter } from '../../src/quantize/quantize-router.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { readMatrix, readVector } from '../../src/tensor/view.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { root } from '../helpers/run-cli.ts';
import { gaussian } from '../quantize/random.ts';
import { rowError, slowLinear } from './expert-twin.ts';
import { runOnce } from './run-layer.ts';

const graphs = [
  ['Gemm with a bias', 'out5.gpt_oss.batched_mm.ts.onnx'],
  ['MatMul', 'out5.qwen3_moe.eager.ts.onnx'],
] as const;

describe.each(graphs)('a router in 8 bits: %s', (_name, file) => {
  test.each([false, true])('computes its reference, portable %s', async (portable) => {
    const { model, layers } = prepareModel(join(root, 'test/fixtures/graphs', file));
    const [layer] = layers;
    const { node, input, view } = routerLinear(layer);
    const bias = node.inputs[2] ? readVector(layer.router.linear!.bias!.view) : null;
    const weight = quantizeRouter(readMatrix(view), 1);
    emitRouter(model, layer, weight, portable);
    model.graph.outputs = [input, layer.router.logits];
    model.graph.removeDeadCode();
    const operators = new Set(model.graph.nodes.map(({ opType }) => opType));
    expect(operators.has('MatMulInteger')).toBe(!portable);
    const states = gaussian(10, layer.hidden, 4).data;
    const name = model.graph.inputs[0].name;
    const results = Object.values(
      await runOnce(model, { [name]: { dtype: 'float32', dims: [2, 5, layer.hidden], data: states } }),
    );
    const [read, logits] = results;
    const rows = matrix(read.data.length / layer.hidden, layer.hidden, Float32Array.from(read.data));
    const expected = slowLinear({ weight, bias }, rows, { bits: 8, width: rows.cols, block: rows.cols });
    expect(logits.dims.at(-1)).toBe(layer.router.experts);
    expect(rowError({ ...expected, data: Float32Array.from(logits.data) }, expected)).toBeLessThan(1e-5);
  });
});

test('a product with its activation inside is refused by name', () => {
  const path = join(root, 'test/fixtures/graphs/out5.deepseek_v3.batched_mm.dyn.optimized.onnx');
  const [layer] = prepareModel(path).layers;
  expect(faultOf(() => routerLinear(layer))).toMatchObject({
    code: 'ROUTER_UNSUPPORTED',
    where: 'layer L0',
    why: 'its FusedGemm is no MatMul or Gemm that reads a stored weight on its right',
  });
});
