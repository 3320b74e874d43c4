import { describe, expect, test } from 'vitest';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { groupedFfn } from '../../src/emit/grouped-ffn.ts';
import { intForm } from '../../src/emit/int-form.ts';
import type { QuantizedExpert } from '../../src/emit/quantized-expert.ts';
import type { Expert } from '../../src/moe/moe-layer.ts';
import { raiseOpset } from '../../src/onnx/raise-opset.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import { schemeOf } from '../../src/quantize/scheme.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { halfToFloat, floatToHalf } from '../../src/tensor/half.ts';
import type { SessionOptions } from '../../src/runtime/session.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { silu, syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';
import { quantizeByRtn, rowError, slowActivation, slowLinear } from './expert-twin.ts';
import { exposeLayer } from './expose-layer.ts';
import type { TokenRoute } from './run-layer.ts';
import { feedsOf, randomRoutes, runOnce } from './run-layer.ts';

interface Trial {
  spec?: Partial<LayerSpec>;
  scheme?: SchemeName;
  tokens?: number;
  routes?: TokenRoute[];
  x?: Matrix;
  optimization?: SessionOptions['optimization'];
}

/** Largest errors of a whole run: of any linear, of any activation, and of the sum over experts. */
interface Errors {
  linear: number;
  activation: number;
  sum: number;
}

async function errorsOf(trial: Trial): Promise<Errors> {
  const { model, layer, spec } = syntheticLayer(trial.spec);
  const scheme = schemeOf(trial.scheme ?? 'w4a4');
  const weights = new Map(layer.experts.map((expert) => [expert.id, quantizeByRtn(expert, scheme)]));
  raiseOpset(model, scheme.weight.bits === 2 ? 25 : 21);
  emitLayer(
    model,
    layer,
    groupedFfn(layer, ({ id }) => weights.get(id)!, intForm(scheme.activationBits!)),
  );
  model.graph.removeDeadCode();
  exposeLayer(model, layer);
  const routes = trial.routes ?? randomRoutes(spec, trial.tokens ?? 5);
  const x = trial.x ?? gaussian(routes.length, spec.hidden, 3);
  const run = await runOnce(model, feedsOf(spec, x, routes), {
    optimization: trial.optimization ?? 'all',
  });
  const asMatrix = (name: string): Matrix => matrix(run[name].dims[0], run[name].dims[1], run[name].data);

  const input =
    spec.dtype === 'float16'
      ? matrix(
          x.rows,
          x.cols,
          Float32Array.from(x.data, (v) => halfToFloat(floatToHalf(v))),
        )
      : x;
  const errors = { linear: 0, activation: 0, sum: 0 };
  const sum = matrix(x.rows, x.cols);
  let start = 0;
  for (const expert of layer.experts) {
    const own = tokensOf(expert, routes);
    const part = (name: string): Matrix => rowRange(asMatrix(`moeq/L0/${name}`), start, own.length);
    const seen = {
      gate: expert.gate ? part('gate') : null,
      up: part('up'),
      hidden: part('hidden'),
      output: part('results'),
    };
    start += own.length;
    const { gate, up, down } = weights.get(expert.id)!;
    const rows = gather(input, own, routes, spec.appliesTo === 'input' ? expert.index : null);
    const check = (linear: NonNullable<QuantizedExpert['gate']>, from: Matrix, actual: Matrix): void => {
      errors.linear = Math.max(
        errors.linear,
        rowError(actual, slowLinear(linear, from, scheme.activationBits)),
      );
    };
    if (gate) check(gate, rows, seen.gate!);
    check(up, rows, seen.up);
    errors.activation = Math.max(
      errors.activation,
      rowError(seen.hidden, slowActivation(layer.activation, seen.gate, seen.up)),
    );
    check(down, seen.hidden, seen.output);
    own.forEach((token, i) => {
      const weight = spec.appliesTo === 'input' ? 1 : routes[token].get(expert.index)!;
      for (let c = 0; c < x.cols; c++)
        sum.data[token * x.cols + c] += weight * seen.output.data[i * x.cols + c];
    });
  }
  errors.sum = rowError(asMatrix('y'), sum);
  return errors;
}

function rowRange({ cols, data }: Matrix, start: number, rows: number): Matrix {
  return matrix(rows, cols, Float32Array.from(data.subarray(start * cols, (start + rows) * cols)));
}

function tokensOf({ index }: Expert, routes: readonly TokenRoute[]): number[] {
  return routes.flatMap((route, token) => (route.has(index) ? [token] : []));
}

/** The tokens' rows, multiplied by their routing weight where that applies to the input. */
function gather(x: Matrix, tokens: number[], routes: readonly TokenRoute[], weighted: number | null): Matrix {
  const result = matrix(tokens.length, x.cols);
  tokens.forEach((token, i) => {
    const weight = weighted === null ? 1 : routes[token].get(weighted)!;
    for (let c = 0; c < x.cols; c++) result.data[i * x.cols + c] = x.data[token * x.cols + c] * weight;
  });
  return result;
}

const tolerance = 1e-5;

async function expectExact(trial: Trial, sumTolerance = tolerance): Promise<void> {
  const errors = await errorsOf(trial);
  expect(errors.linear).toBeLessThan(tolerance);
  expect(errors.activation).toBeLessThan(tolerance);
  expect(errors.sum).toBeLessThan(sumTolerance);
}

describe('integer experts equal the fake-quantized reference', () => {
  test.each(['disabled', 'basic', 'extended', 'all'] as const)('at optimization level %s', (optimization) =>
    expectExact({ optimization }),
  );

  test.each(['w4a4', 'w3a4', 'w3a3', 'w2a4', 'w4a8', 'w8a8', 'ternary-a8', 'ternary-a4'] as const)(
    'with scheme %s',
    (scheme) => expectExact({ scheme }),
  );

  test.each([0, 1, 2, 70])('for %i tokens', (tokens) => expectExact({ tokens }));

  test('when all tokens go to the same experts', async () => {
    const { spec } = syntheticLayer();
    await expectExact({ routes: randomRoutes(spec, 9, 5, [1, 3]) });
  });

  test('for tokens of zeros', () => expectExact({ tokens: 3, x: matrix(3, 48) }));

  test('for tokens of very different size', () => {
    const x = gaussian(6, 48, 8);
    x.data.forEach((value, i) => (x.data[i] = value * 10 ** (Math.floor(i / 48) * 6 - 15)));
    return expectExact({ tokens: 6, x });
  });

  test.each([
    ['ungated experts with relu', { gated: false, activation: { ...silu, name: 'relu' } }],
    ['squared relu', { gated: false, activation: { ...silu, name: 'relu2' } }],
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
    ['a source in opset 17', { opset: 17 }],
  ] satisfies [string, Partial<LayerSpec>][])('for %s', (_name, spec) => expectExact({ spec, tokens: 7 }));

  test('for a float16 model, up to the rounding of its output', () =>
    expectExact({ spec: { dtype: 'float16' }, tokens: 7 }, 1e-3));
});
