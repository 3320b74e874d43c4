import { describe, expect, test } from 'vitest';
import type { Activation } from '../../src/moe/moe-layer.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { silu, syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';
import { errorsOf, within } from './errors-of.ts';
import { randomRoutes } from './run-layer.ts';

const activations = { block: 'token' } as const;

const mish: Activation = {
  ...silu,
  name: 'elementwise',
  formula: { opType: 'Mish', inputs: ['x'], attributes: {} },
};

describe('integer experts equal the fake-quantized reference', () => {
  // Twelve pairs of these four experts are few.
  describe.each([5, 40])('for %i tokens', (tokens) => {
    test.each(['disabled', 'basic', 'extended', 'all'] as const)('at optimization level %s', (optimization) =>
      expect(errorsOf({ optimization, tokens })).resolves.toSatisfy(within(1e-5)),
    );

    test.each(['w4a4', 'w3a4', 'w3a3', 'w2a4', 'w4a8', 'w8a8', 'ternary-a8', 'ternary-a4'] as const)(
      'with scheme %s',
      (scheme) => expect(errorsOf({ scheme, tokens })).resolves.toSatisfy(within(1e-5)),
    );

    test.each(['w4a4', 'w3a3', 'w8a8'] as const)('with one grid per token and scheme %s', (scheme) =>
      expect(errorsOf({ scheme, tokens, activations, isShifted: true })).resolves.toSatisfy(within(1e-5)),
    );

    test.each(['w4a4', 'w3a4', 'w2a4', 'w4a8', 'ternary-a8'] as const)(
      'with groups of weights and scheme %s',
      (scheme) => expect(errorsOf({ scheme, tokens, group: 16 })).resolves.toSatisfy(within(1e-5)),
    );

    test.each(['w4a4', 'w3a3'] as const)('with a shift and scheme %s', (scheme) =>
      expect(errorsOf({ scheme, tokens, isShifted: true })).resolves.toSatisfy(within(1e-5)),
    );

    test.each(['disabled', 'basic', 'extended', 'all'] as const)(
      'with one grid per token at optimization level %s',
      (optimization) =>
        expect(errorsOf({ optimization, tokens, activations })).resolves.toSatisfy(within(1e-5)),
    );
  });

  test.each(['disabled', 'basic', 'extended', 'all'] as const)(
    'with groups of weights at optimization level %s',
    (optimization) => expect(errorsOf({ optimization, group: 8 })).resolves.toSatisfy(within(1e-5)),
  );

  test.each([0, 1])('with one grid per token for %i tokens', (tokens) =>
    expect(errorsOf({ tokens, activations })).resolves.toSatisfy(within(1e-5)),
  );

  test.each([0, 1, 2, 70])('for %i tokens', (tokens) =>
    expect(errorsOf({ tokens })).resolves.toSatisfy(within(1e-5)),
  );

  test('when all tokens go to the same experts', async () => {
    const { spec } = syntheticLayer();
    await expect(errorsOf({ routes: randomRoutes(spec, 9, 5, [1, 3]) })).resolves.toSatisfy(within(1e-5));
  });

  test('when two threads add up many experts per token', () =>
    expect(
      errorsOf({ threads: 2, tokens: 300, spec: { hidden: 128, intermediate: 8, experts: 8, k: 8 } }),
    ).resolves.toSatisfy(within(1e-5)));

  test('for tokens of zeros', () =>
    expect(errorsOf({ tokens: 3, x: matrix(3, 48) })).resolves.toSatisfy(within(1e-5)));

  test('for tokens of very different size', () => {
    const x = gaussian(6, 48, 8);
    x.data.forEach((value, i) => (x.data[i] = value * 10 ** (Math.floor(i / 48) * 6 - 15)));
    return expect(errorsOf({ tokens: 6, x })).resolves.toSatisfy(within(1e-5));
  });

  test.each([
    ['ungated experts with relu', { gated: false, activation: { ...silu, name: 'relu' } }],
    ['relu up to a limit', { gated: false, activation: { ...silu, name: 'relu', limit: 0.8 } }],
    ['squared relu', { gated: false, activation: { ...silu, name: 'relu2' } }],
    ['a function by no name', { activation: mish }],
    ['the same without a gate', { gated: false, activation: mish }],
    ['gated gelu', { activation: { ...silu, name: 'gelu-tanh' } }],
    ['biases', { bias: true }],
    [
      'clipped swiglu with biases',
      { bias: true, activation: { name: 'silu', alpha: 1.702, limit: 0.8, upOffset: 1 } },
    ],
    ['one expert per token', { k: 1 }],
    ['every expert for every token', { k: 4 }],
    ['routing weights on the input', { appliesTo: 'input', k: 1 }],
    ['routing weights on the input, with biases', { appliesTo: 'input', bias: true }],
    ['dense routing, experts last', { routing: 'dense-last' }],
    ['dense routing, experts first', { routing: 'dense-first' }],
    ['capacity routing', { routing: 'combine' }],
    ['odd sizes', { hidden: 37, intermediate: 19, experts: 5, k: 3 }],
    ['blocks of 15 and of 11 channels', { hidden: 45, intermediate: 22 }],
    ['a source in opset 17', { opset: 17 }],
  ] satisfies [string, Partial<LayerSpec>][])('for %s', (_name, spec) =>
    expect(errorsOf({ spec, tokens: 7 })).resolves.toSatisfy(within(1e-5)),
  );

  test('for a float16 model, up to the rounding of its output', () =>
    expect(errorsOf({ spec: { dtype: 'float16' }, tokens: 7 })).resolves.toSatisfy(within(1e-5, 1e-3)));
});
