import { describe, expect, it } from 'vitest';
import type { Activation, Formula, FormulaStep } from '../../src/moe/moe-layer.ts';
import { fitActivation } from '../../src/moe/rules/fit-activation.ts';
import { fusedFormula } from '../../src/moe/rules/read-formula.ts';
import { builder as onnxBuilder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Builder } from './helpers/build.ts';
import { builder } from './helpers/build.ts';

type Spelling = (build: Builder, gate: Value, up: Value) => Value;

function silu({ add }: Builder, x: Value): Value {
  return add('Mul', [x, add('Sigmoid', [x])]);
}

const gelu: Spelling = ({ add, scalar }, x) => {
  const error = add('Erf', [add('Div', [x, scalar(Math.SQRT2)])]);
  return add('Mul', [add('Mul', [x, add('Add', [error, scalar(1)])]), scalar(0.5)]);
};

const geluTanh: Spelling = ({ add, scalar }, x) => {
  const cubic = add('Add', [x, add('Mul', [scalar(0.044715), add('Pow', [x, scalar(3)])])]);
  const wave = add('Tanh', [add('Mul', [scalar(Math.sqrt(2 / Math.PI)), cubic])]);
  return add('Mul', [add('Mul', [scalar(0.5), x]), add('Add', [scalar(1), wave])]);
};

const clamped: Spelling = ({ add, scalar }, gate, up) => {
  const g = add('Clip', [gate, null, scalar(7)]);
  const u = add('Clip', [up, scalar(-7), scalar(7)]);
  const glu = add('Mul', [g, add('Sigmoid', [add('Mul', [g, scalar(1.703125)])])]);
  return add('Mul', [add('Add', [u, scalar(1)]), glu]);
};

const clampedAt =
  (...[gateLimit, upLimit]: [number, number]): Spelling =>
  (build, gate, up) => {
    const { add, scalar } = build;
    const g = silu(build, add('Clip', [gate, null, scalar(gateLimit)]));
    return add('Mul', [g, add('Clip', [up, scalar(-upLimit), scalar(upLimit)])]);
  };

const clampedByMinAndMax: Spelling = ({ add, scalar }, gate, up) => {
  const g = add('Min', [gate, scalar(7)]);
  const u = add('Min', [add('Max', [up, scalar(-7)]), scalar(7)]);
  return add('Mul', [add('Mul', [g, add('Sigmoid', [g])]), u]);
};

const cappedAt =
  (...[gateLimit, upLimit]: [number, number]): Spelling =>
  (build, gate, up) => {
    const { add, scalar } = build;
    const g = add('Clip', [silu(build, gate), null, scalar(gateLimit)]);
    return add('Mul', [g, add('Clip', [up, scalar(-upLimit), scalar(upLimit)])]);
  };

const plain = { alpha: 1, limit: null, upOffset: 0 };

function step(opType: string, ...inputs: (Formula | null)[]): FormulaStep {
  return { opType, inputs, attributes: {} };
}

function asWritten(formula: Formula): Activation {
  return { ...plain, name: 'elementwise', formula };
}

/** The same with constants in half floats. */
function inHalf(spell: Spelling): Spelling {
  return (build, gate, up) => {
    const scalar = (value: number): Value =>
      onnxBuilder(build.graph, 'half').constant('c', 'float16', [], [value]);
    return spell({ ...build, scalar }, gate, up);
  };
}

function fit(spell: Spelling): ReturnType<typeof fitActivation> {
  const build = builder();
  const [gate, up] = [build.input('gate', ['n']), build.input('up', ['n'])];
  const value = spell(build, gate, up);
  const used = [gate, up].filter(({ uses }) => uses.length > 0);
  return fitActivation(
    value,
    used.map((each) => ({ names: [each], fused: 'x' })),
  );
}

describe('fitActivation', () => {
  it.each<[string, Spelling, object]>([
    ['relu', ({ add }, x) => add('Relu', [x]), { name: 'relu', ...plain }],
    [
      'relu squared by Pow',
      ({ add, scalar }, x) => add('Pow', [add('Relu', [x]), scalar(2)]),
      { name: 'relu2', ...plain },
    ],
    ['gelu by Erf', gelu, { name: 'gelu', ...plain }],
    ['gelu by Tanh', geluTanh, { name: 'gelu-tanh', ...plain }],
    ['gelu by Erf in half floats', inHalf(gelu), { name: 'gelu', ...plain }],
    ['gelu by Tanh in half floats', inHalf(geluTanh), { name: 'gelu-tanh', ...plain }],
    [
      'GeGLU in half floats',
      inHalf((build, gate, up) => build.add('Mul', [gelu(build, gate, up), up])),
      { name: 'gelu', ...plain },
    ],
    ['SwiGLU', (build, gate, up) => build.add('Mul', [silu(build, gate), up]), { name: 'silu', ...plain }],
    [
      'QuickGelu',
      ({ add }, gate, up) => add('Mul', [up, add('QuickGelu', [gate], { alpha: 1.5 })]),
      { name: 'silu', ...plain, alpha: 1.5 },
    ],
    ['gpt-oss', clamped, { name: 'silu', alpha: 1.703125, limit: 7, upOffset: 1 }],
    ['a clamp by Min and Max', clampedByMinAndMax, { name: 'silu', ...plain, limit: 7 }],
    [
      'a limit beyond every probe of its own accord',
      clampedAt(10, 10),
      { name: 'silu', ...plain, limit: 10 },
    ],
    ['no limit that gate and up do not share', clampedAt(10, 20), { name: 'unknown', ...plain }],
    ['SwiGLU cut after SiLU (Step 3.7)', cappedAt(7, 7), { name: 'capped-silu', ...plain, limit: 7 }],
    ['SiLU cut far out, where it is its input', cappedAt(16, 16), { name: 'silu', ...plain, limit: 16 }],
    ['no limit of SiLU that up does not share', cappedAt(7, 9), { name: 'unknown', ...plain }],
    [
      'a limit that is worked out',
      ({ add, scalar }, gate, up) => {
        const limit = add('Mul', [scalar(5), scalar(6)]);
        const g = add('Min', [gate, limit]);
        const u = add('Max', [add('Min', [up, limit]), add('Neg', [limit])]);
        return add('Mul', [add('Mul', [g, add('Sigmoid', [g])]), u]);
      },
      { name: 'silu', ...plain, limit: 30 },
    ],
    [
      'relu up to a limit',
      ({ add, scalar }, x) => add('Min', [add('Relu', [x]), scalar(12)]),
      { name: 'relu', ...plain, limit: 12 },
    ],
    [
      'ReLU6',
      ({ add, scalar }, x) => add('Clip', [x, scalar(0), scalar(6)]),
      { name: 'relu', ...plain, limit: 6 },
    ],
    [
      'no relu above a small threshold',
      ({ add, scalar }, x) => add('Where', [add('Greater', [x, scalar(1 / 8)]), x, scalar(0)]),
      asWritten(step('Where', step('Greater', 'x', 1 / 8), 'x', 0)),
    ],
    [
      'relu by Where',
      ({ add, scalar }, x) => add('Where', [add('Greater', [x, scalar(0)]), x, scalar(0)]),
      { name: 'relu', ...plain },
    ],
    [
      'no relu in a bound below zero',
      ({ add, scalar }, x) => add('Max', [x, scalar(-1)]),
      asWritten(step('Max', 'x', -1)),
    ],
    ['nothing', ({ add }, x) => add('Identity', [x]), { name: 'identity', ...plain }],
    [
      'what has no name here as it is written',
      ({ add }, x) => add('Elu', [x], { alpha: 0.5 }),
      asWritten({ ...step('Elu', 'x'), attributes: { alpha: { f: 0.5 } } }),
    ],
    [
      'the gate of a product the same way, casts between floats aside',
      ({ add }, gate, up) =>
        add('Mul', [up, add('Cast', [add('Tanh', [add('Cast', [gate], { to: 1 })])], { to: 10 })]),
      asWritten(step('Tanh', 'x')),
    ],
    [
      'a condition that is multiplied',
      ({ add, scalar }, x) => {
        const isLarge = add('Greater', [x, scalar(1 / 8)]);
        return add('Mul', [add('Cast', [isLarge], { to: 1 }), x]);
      },
      asWritten(step('Mul', step('Where', step('Greater', 'x', 1 / 8), 1, 0), 'x')),
    ],
    [
      'bounds that are attributes',
      ({ add }, x) => add('Clip', [add('Tanh', [x])], { min: -0.5 }),
      asWritten(step('Clip', step('Tanh', 'x'), -0.5, null)),
    ],
    [
      'an operator of ONNX Runtime by those of ONNX',
      ({ add }, x) => add('Tanh', [add('QuickGelu', [x], { alpha: 1.5 })]),
      asWritten(step('Tanh', step('Mul', 'x', step('Sigmoid', step('Mul', 'x', 1.5))))),
    ],
    [
      'GELU by its approximation before something else',
      ({ add }, x) => add('Tanh', [add('FastGelu', [x])]),
      asWritten(step('Tanh', { ...step('Gelu', 'x'), attributes: { approximate: 'tanh' } })),
    ],
    [
      'no operator of ONNX Runtime that takes a bias too',
      ({ add, scalar }, x) => add('Tanh', [add('FastGelu', [x, scalar(1)])]),
      { name: 'unknown', ...plain },
    ],
    [
      'no function of whole numbers',
      ({ add }, x) => add('Tanh', [add('Cast', [x], { to: 7 })]),
      { name: 'unknown', ...plain },
    ],
    [
      'no product of functions of both',
      ({ add }, gate, up) => add('Mul', [add('Tanh', [gate]), add('Sigmoid', [up])]),
      { name: 'unknown', ...plain },
    ],
    [
      'nothing that is done to a product afterwards',
      ({ add }, gate, up) => add('Tanh', [add('Mul', [add('Tanh', [gate]), up])]),
      { name: 'unknown', ...plain },
    ],
    ['no mix of channels', ({ add }, x) => add('Softmax', [x]), { name: 'unknown', ...plain }],
    ['nothing that has no value somewhere', ({ add }, x) => add('Log', [x]), { name: 'unknown', ...plain }],
    [
      'nothing that grows with every step',
      ({ add }, x) => Array.from({ length: 40 }).reduce<Value>((value) => add('Add', [value, value]), x),
      { name: 'unknown', ...plain },
    ],
    [
      'a function of positions',
      ({ add, weight }, x) => add('Mul', [x, weight('w', [4])]),
      { name: 'unknown', ...plain },
    ],
  ])('names %s', (_, spell, expected) => {
    expect(fit(spell).activation).toEqual(expected);
  });

  it('begins with what a fused operator applies, if it is known', () => {
    const build = builder();
    const x = build.input('x', ['n']);
    const value = build.add('Tanh', [x]);
    const fitted = ['Sigmoid', 'Unheard'].map((fused) =>
      fitActivation(value, [{ names: [x], fused: step(fused, 'x') }]),
    );
    expect(fitted.map(({ activation }) => activation)).toEqual([
      asWritten(step('Tanh', step('Sigmoid', 'x'))),
      { name: 'unknown', ...plain },
    ]);
  });

  it('takes the factors of a fused operator along', () => {
    const build = builder();
    const x = build.input('x', ['n', 4]);
    const fused = (attributes: Record<string, number | number[] | string>): Value =>
      build.add('FusedGemm', [x, build.weight('w', [4, 4])], attributes);
    const fitted = [
      fused({ activation: 'LeakyRelu', activation_alpha: 0.25, alpha: 1 }),
      fused({ activation: 'LeakyRelu', activation_params: [0.25] }),
    ].map((value) => {
      const formula = fusedFormula({ fused: 'LeakyRelu', node: value.producer! });
      return fitActivation(value, [{ names: [value], fused: formula }]).activation;
    });
    expect(fitted).toEqual([
      asWritten({ ...step('LeakyRelu', 'x'), attributes: { alpha: { f: 0.25 } } }),
      { name: 'unknown', ...plain },
    ]);
  });

  it('tells gate from up whatever the order of the factors', () => {
    const { gate, up } = fit((build, first, second) => build.add('Mul', [first, silu(build, second)]));
    expect([gate?.names[0].name, up.names[0].name]).toEqual(['up', 'gate']);
  });
});
