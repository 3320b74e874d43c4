import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Norm } from '../../src/moe/moe-layer.ts';
import { builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import { makeModel } from '../helpers/make-model.ts';
import { choose, hidden, logits, maskedExperts, norm, normsApart, scalar } from './helpers/parts.ts';

/** A layer on a stream that `normalize` makes ready for it. */
function layerOn(normalize: typeof norm): Model {
  return makeModel({ x: ['float32', ['batch', 'sequence', hidden]] }, (b, stream) => {
    const x = normalize(b, stream);
    return { y: b.op('Add', [stream, maskedExperts(b, x, choose(b, logits(b, x)))]) };
  });
}

function normIn(model: Model): Norm | null {
  const { layers } = locate(model);
  expect(layers).toHaveLength(1);
  return layers[0].norm;
}

it('a norm without a gain takes no scale', () => {
  const model = layerOn((b, x) => {
    const mean = b.op('ReduceMean', [b.op('Mul', [x, x]), b.ints([-1])]);
    return b.op('Div', [x, b.op('Sqrt', [b.op('Add', [mean, scalar(b, 1e-6)])])]);
  });
  expect(normIn(model)).toMatchObject({
    op: 'RMSNorm',
    foldable: false,
    reason: 'the norm has no stored scale of its own',
  });
});

it('a norm whose output the model gives out takes no scale', () => {
  const model = layerOn(norm);
  const x = normIn(model)!.output;
  model.graph.outputs.push(x);
  expect(normIn(model)).toMatchObject({ foldable: false, reason: 'its output is an output of the model' });
});

it('a norm of the experts alone takes the scale, and the router has no part in it', () => {
  const model = normsApart();
  const [{ norm: own, router, experts: all }] = locate(model).layers;
  expect(own).toMatchObject({ op: 'RMSNorm', foldable: true, scale: { name: 'experts_norm' } });
  expect(own!.input).toBe(model.graph.inputs[0]);
  expect(own!.readers.has(router.linear!.node)).toBe(false);
  expect(all.every(({ up }) => own!.readers.has(up!.node))).toBe(true);
});

it('a norm of the experts that something else reads too does not take it, and says what', () => {
  const model = normsApart();
  const { output } = locate(model).layers[0].norm!;
  model.graph.outputs.push(builder(model.graph, '').op('Tanh', [output]));
  expect(normIn(model)).toMatchObject({
    foldable: false,
    reason: "Tanh reads the norm's output and is no plain linear of this layer",
  });
});
