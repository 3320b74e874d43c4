import { describe, expect, test } from 'vitest';
import type { Target } from '../../src/emit/resolve-target.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import { schemeNames } from '../../src/quantize/scheme.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { silu } from '../helpers/synthetic-layer.ts';
import { errorsOf, within } from './errors-of.ts';

const exact = 1e-5;
/** MatMulNBits at accuracy level 4 rounds its activations to 8 bits per block. */
const level4 = 2e-2;
const ternary = ['ternary', 'ternary-a8', 'ternary-a4'] as const;

describe.each([
  ['qdq', schemeNames],
  ['nbits', schemeNames],
  ['packed', ternary],
] satisfies [Target, readonly SchemeName[]][])('target %s equals the reference', (target, schemes) => {
  test.each(schemes.map((scheme) => [scheme]))('with scheme %s', (scheme) =>
    expect(errorsOf({ target, scheme, spec: { hidden: 64, intermediate: 32 } })).resolves.toSatisfy(
      within(exact),
    ),
  );

  test.each(['disabled', 'basic', 'extended', 'all'] as const)('at optimization level %s', (optimization) =>
    expect(errorsOf({ target, scheme: 'ternary', optimization })).resolves.toSatisfy(within(exact)),
  );

  test.each(['disabled', 'all'] as const)(
    'with activations in blocks at optimization level %s',
    (optimization) =>
      expect(
        errorsOf({ target, scheme: 'ternary-a4', optimization, activations: { block: 8 } }),
      ).resolves.toSatisfy(within(exact)),
  );

  test.each([0, 1, 40])('for %i tokens', (tokens) =>
    expect(errorsOf({ target, scheme: 'ternary-a4', tokens })).resolves.toSatisfy(within(exact)),
  );

  test.each(['channel', 16, 32, 64, 128] as const)('with group %s', (group) =>
    expect(
      errorsOf({ target, scheme: 'ternary', group, spec: { hidden: 256, intermediate: 160 } }),
    ).resolves.toSatisfy(within(exact)),
  );

  test.each([
    ['ungated experts', { gated: false, activation: { ...silu, name: 'relu' } }],
    [
      'biases and clipped swiglu',
      { bias: true, activation: { ...silu, alpha: 1.702, limit: 0.8, upOffset: 1 } },
    ],
    ['routing weights on the input', { appliesTo: 'input', bias: true }],
    ['dense routing', { routing: 'dense-last' }],
    ['odd sizes', { hidden: 37, intermediate: 19, experts: 5, k: 3 }],
    ['a source in opset 17', { opset: 17 }],
  ] satisfies [string, Partial<LayerSpec>][])('for %s', (_name, spec) =>
    expect(errorsOf({ target, scheme: 'ternary-a8', spec, tokens: 7 })).resolves.toSatisfy(within(exact)),
  );
});

describe.each([
  ['nbits', 'w4a16'],
  ['nbits', 'w8a8'],
  ['nbits', 'w2a4'],
  ['nbits', 'ternary'],
  ['packed', 'ternary'],
] as const)('%s %s at accuracy level 4', (target, scheme) => {
  test.each(['disabled', 'basic', 'extended', 'all'] as const)(
    'is within its stated tolerance at optimization level %s',
    (optimization) =>
      expect(
        errorsOf({
          target,
          scheme,
          optimization,
          accuracyLevel: 4,
          spec: { hidden: 256, intermediate: 128 },
        }),
      ).resolves.toSatisfy(within(level4)),
  );
});
