import { expect, test } from 'vitest';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { floatExperts } from '../../src/emit/float-experts.ts';
import { foldSmoothing } from '../../src/emit/fold-smoothing.ts';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { makeModel } from '../helpers/make-model.ts';
import { runModel } from '../helpers/run-model.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { hidden, maskedLayer, sharedExperts } from '../moe/helpers/parts.ts';
import { randomFeeds } from '../moe/helpers/run-model.ts';
import { gaussian } from '../quantize/random.ts';
import { feedsOf, randomRoutes, runOnce } from './run-layer.ts';

/** A layer between an Identity and a residual Add; the file tells no type of what flows between them. */
function untypedLayer(dtype: LayerSpec['dtype']): { model: Model; layer: MoeLayer; spec: LayerSpec } {
  const { model, layer, spec } = syntheticLayer({ dtype });
  const b = builder(model.graph, '');
  const boundary = layer.boundary!;
  const x = boundary.input;
  boundary.input = b.op('Identity', [x]);
  const sum = b.op('Add', [boundary.output, x], {}, { name: 'residual' });
  sum.info = { ...boundary.output.info!, name: sum.name };
  boundary.output.info = undefined;
  boundary.isFlat = true;
  model.graph.outputs = [sum];
  return { model, layer, spec };
}

test.each(['float32', 'float16'] as const)(
  'a %s layer is smoothed and written where the file tells no types',
  async (dtype) => {
    const { model, layer, spec } = untypedLayer(dtype);
    foldSmoothing(model, layer, new Float32Array(spec.hidden).fill(0.5));
    emitLayer(model, layer, floatExperts(layer));
    model.graph.removeDeadCode();
    const x = gaussian(3, spec.hidden, 4);
    const { residual } = await runOnce(model, feedsOf(spec, x, randomRoutes(spec, 3)));
    expect(residual.dims).toEqual([3, spec.hidden]);
    expect(residual.data.every(Number.isFinite)).toBe(true);
  },
);

test('a layer that reads what the one before it gives, with nothing in between, reads it as it is written', async () => {
  const { model, layer, spec } = syntheticLayer();
  const b = builder(model.graph, '');
  const output = b.op('Identity', [layer.boundary!.output], {}, { name: 'last' });
  const next = {
    ...layer,
    id: 'L1',
    boundary: { ...layer.boundary!, input: layer.boundary!.output, output },
  };
  model.graph.outputs = [layer.boundary!.output, output];
  for (const each of [layer, next]) emitLayer(model, each, floatExperts(each));
  model.graph.removeDeadCode();
  const routes = randomRoutes(spec, 3);
  const { y, last } = await runOnce(model, feedsOf(spec, gaussian(3, spec.hidden, 4), routes));

  const alone = syntheticLayer();
  emitLayer(alone.model, alone.layer, floatExperts(alone.layer));
  const fed = matrix(3, spec.hidden, Float32Array.from(y.data));
  const expected = await runOnce(alone.model, feedsOf(spec, fed, routes));
  expect(last.data).toEqual(expected.y.data);
  expect(last.data).not.toEqual(y.data);
});

/** Two layers of the same experts, of which the first two hold the same weights. */
function twoLayers(): Model {
  const write = sharedExperts((e) => Math.max(e, 1));
  return makeModel({ x: ['float32', ['batch', 'sequence', hidden]] }, (b, stream) => ({
    y: maskedLayer(b, maskedLayer(b, stream, write), write),
  }));
}

test('experts that hold the same weights, in one layer or in two, are written each for itself', async () => {
  const { model: written, layers } = prepareModel(twoLayers());
  expect(layers).toHaveLength(2);
  for (const layer of layers) emitLayer(written, layer, floatExperts(layer));
  written.graph.removeDeadCode();
  expect([...written.graph.constants].filter(({ name }) => name.startsWith('experts.'))).toEqual([]);
  const feeds = randomFeeds(written);
  const [expected, actual] = [await runModel(twoLayers(), feeds), await runModel(written, feeds)];
  actual.y.forEach((value, at) => expect(value).toBeCloseTo(expected.y[at], 4));
});
