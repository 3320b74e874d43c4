import { expect, test } from 'vitest';
import { quantizeDense } from '../../src/emit/linears/quantize-dense.ts';
import { rolesOf } from '../../src/moe/roles.ts';
import { builder } from '../../src/onnx/build.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';

/** A layer whose router is an MLP, between two projections of an attention. */
function layerWithMlp() {
  const { model, layer } = syntheticLayer({ hidden: 48 });
  const b = builder(model.graph, '');
  const linear = (name: string, input: typeof layer.router.logits) =>
    b.op('MatMul', [input, b.constant(name, 'float32', [48, 48], gaussian(48, 48, 1).data)]);
  const input = linear('before', model.graph.inputs[0]);
  const logits = linear('router.2', b.op('Relu', [linear('router.0', input)]));
  const beside = linear('beside', input);
  const after = linear('after', layer.boundary!.output);
  layer.boundary!.input = input;
  layer.router.logits = logits;
  model.graph.outputs = [logits, b.op('Neg', [beside]), b.op('Neg', [after])];
  return { model, layer };
}

test('all linears between the input of a layer and the logits are of the router', () => {
  const { model, layer } = layerWithMlp();
  const roles = rolesOf(model, [layer]);
  const named = ['before', 'router.0', 'router.2', 'beside', 'after'].map((name) => roles.get(name));
  expect(named).toEqual(['attention', 'router', 'router', 'attention', 'attention']);
});

test('linears of the router stay where dense ones are quantized', () => {
  const { model, layer } = layerWithMlp();
  const { quantized } = quantizeDense(model, [layer], 'w8a8', false);
  expect(quantized.map(({ tensor }) => tensor).toSorted()).toEqual(['after', 'before', 'beside']);
});
