import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { AttributeValue, Builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { makeModel } from '../helpers/make-model.ts';
import { experts, hidden, k, logits, weight, width } from './helpers/parts.ts';

/** The weights behind tokens and logits; `given` is an input of the model. */
type Weights = (b: Builder, given: Value) => (Value | null)[];

function fused(weights: Weights, attributes: Record<string, AttributeValue> = {}): Model {
  const inputs = {
    x: ['float32', ['tokens', hidden]],
    given: ['float32', [experts, hidden, width]],
  } as const;
  return makeModel(inputs, (b, x, given) => ({
    y: b.op(
      'MoE',
      [x, logits(b, x), ...weights(b, given)],
      { k, ...attributes },
      { domain: 'com.microsoft' },
    ),
  }));
}

const plain: Weights = (b) => [
  weight(b, 'fc1', [experts, width, hidden]),
  null,
  weight(b, 'fc2', [experts, hidden, width]),
];

it.each<[string, Model, string]>([
  [
    'an input for a weight',
    fused((b, given) => [weight(b, 'fc1', [experts, width, hidden]), null, given]),
    'its expert weights are not stored in the file',
  ],
  [
    'codes of weights',
    fused((b, given) => {
      const [, bias, fc2] = plain(b, given);
      const shape = [experts, width, hidden];
      const codes = b.constant('codes', 'int8', shape, new Int8Array(experts * width * hidden).fill(1));
      return [b.op('DequantizeLinear', [codes, b.constant('scale', 'float32', [], [0.5])]), bias, fc2];
    }),
    'its experts are quantized already',
  ],
  [
    'a third weight',
    fused((b, given) => [...plain(b, given), null, weight(b, 'fc3', [experts, width, hidden])]),
    'the third weight of a fused MoE is not run by ONNX Runtime on CPU',
  ],
  [
    'the sparse mixer',
    fused(plain, { use_sparse_mixer: 1 }),
    'its sparse mixer runs only inside the fused operator',
  ],
  [
    'an unknown function',
    fused(plain, { activation_type: 'elu' }),
    'its function elu is not a known activation',
  ],
])('a fused operator with %s is refused, and it is said why', (_what, model, reason) => {
  const [layer] = locate(model).layers;
  expect(layer).toMatchObject({ form: 'fused', quantizable: false, boundary: null, reason });
});

it('SwiGLU without halves for a gate is warned of', () => {
  const [layer] = locate(fused(plain, { activation_type: 'swiglu' })).layers;
  expect(layer).toMatchObject({ gated: false, warnings: ['the gate of its SwiGLU experts was not found'] });
});
