import { describe, expect, test } from 'vitest';
import { dispatchTokens } from '../../src/emit/dispatch-tokens.ts';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { emitterFor, requireEmittable } from '../../src/emit/emitter-for.ts';
import { expertResults } from '../../src/emit/expert-results.ts';
import { noRotation } from '../../src/emit/forms/rotated-form.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import { layerRecord } from '../../src/moe/model-record.ts';
import type { Activation } from '../../src/moe/moe-layer.ts';
import { explicitRouting } from '../../src/moe/spell-out-routing.ts';
import { builder } from '../../src/onnx/build.ts';
import { raiseOpset } from '../../src/onnx/raise-opset.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import type { SessionOptions } from '../../src/runtime/session.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { faultOf } from '../helpers/fault-of.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { silu, syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';
import { quantizeByRtn, rowError, slowActivation, slowLinear } from './expert-twin.ts';
import { feedsOf, randomRoutes, runOnce } from './run-layer.ts';

interface Trial {
  spec?: Partial<LayerSpec>;
  scheme?: SchemeName;
  group?: number | 'channel' | 'auto';
  tokens?: number;
  optimization?: SessionOptions['optimization'];
}

/** Largest errors of the layer's output and of the single experts' results. */
async function errorsOf(trial: Trial): Promise<{ sum: number; experts: number }> {
  const { model, layer, spec } = syntheticLayer({ hidden: 64, intermediate: 32, ...trial.spec });
  const resolved = resolveTarget({
    scheme: trial.scheme ?? 'w4a16',
    target: 'qmoe',
    group: trial.group ?? 'auto',
  });
  const weights = layer.experts.map((expert) => quantizeByRtn(expert, resolved));
  raiseOpset(model, resolved.opset);
  emitLayer(model, layer, emitterFor(resolved, { layer, weightsOf: ({ index }) => weights[index] }));
  model.graph.removeDeadCode();
  const b = builder(model.graph, 'own');
  const dispatch = dispatchTokens(b, explicitRouting(layer), layer.experts, spec.experts);
  const { results, bindings } = expertResults(model, layerRecord(layer, null), dispatch);
  for (const [from, to] of bindings) model.graph.replaceAllUses(from, to);
  model.graph.outputs.push(results);

  const routes = randomRoutes(spec, trial.tokens ?? 6);
  const x = gaussian(routes.length, spec.hidden, 3);
  const run = await runOnce(model, feedsOf(spec, x, routes), { optimization: trial.optimization ?? 'all' });
  const errors = { sum: 0, experts: 0 };
  const sum = matrix(x.rows, x.cols);
  let at = 0;
  layer.experts.forEach((_, e) => {
    const { gate, up, down } = weights[e];
    const all = slowLinear(
      down,
      slowActivation(layer.activation, gate && slowLinear(gate, x, null), slowLinear(up, x, null)),
      null,
    );
    const own = routes.flatMap((route, t) => (route.has(e) ? [t] : []));
    own.forEach((t) => {
      for (let c = 0; c < x.cols; c++)
        sum.data[t * x.cols + c] += routes[t].get(e)! * all.data[t * x.cols + c];
    });
    const expected = matrix(own.length, x.cols);
    own.forEach((t, i) => expected.data.set(all.data.subarray(t * x.cols, (t + 1) * x.cols), i * x.cols));
    const data = run[results.name].data.subarray(at, (at += own.length * x.cols));
    errors.experts = Math.max(errors.experts, rowError({ rows: own.length, cols: x.cols, data }, expected));
  });
  const y: Matrix = { rows: x.rows, cols: x.cols, data: run['y'].data };
  errors.sum = rowError(y, sum);
  return errors;
}

function within(tolerance: number): (errors: { sum: number; experts: number }) => boolean {
  return ({ sum, experts }) => sum < tolerance && experts < tolerance;
}

describe('QMoE equals the reference', () => {
  test.each(['disabled', 'basic', 'extended', 'all'] as const)('at optimization level %s', (optimization) =>
    expect(errorsOf({ optimization })).resolves.toSatisfy(within(1e-5)),
  );

  test.each([
    ['w4a16', 'channel'],
    ['w4a16', 32],
    ['w4a16', 16],
    ['ternary', 'channel'],
    ['ternary', 16],
  ] as const)('with scheme %s and group %s', (scheme, group) =>
    expect(errorsOf({ scheme, group })).resolves.toSatisfy(within(1e-5)),
  );

  test('of 2-bit blocks within the tolerance of its table kernel', () =>
    expect(
      errorsOf({ scheme: 'ternary', group: 32, spec: { hidden: 128, intermediate: 128 } }),
    ).resolves.toSatisfy(within(5e-2)));

  test.each([1, 30])('for %i tokens', (tokens) =>
    expect(errorsOf({ tokens })).resolves.toSatisfy(within(1e-5)),
  );

  test.each([
    ['ungated relu with biases', { gated: false, bias: true, activation: { ...silu, name: 'relu' } }],
    ['ungated tanh gelu', { gated: false, activation: { ...silu, name: 'gelu-tanh' } }],
    [
      'clipped swiglu with biases',
      { bias: true, activation: { ...silu, alpha: 1.702, limit: 0.8, upOffset: 1 } },
    ],
    ['one expert per token', { k: 1 }],
    ['every expert for every token', { k: 4 }],
    ['dense routing, experts last', { routing: 'dense-last' }],
    ['dense routing, experts first', { routing: 'dense-first' }],
    ['capacity routing', { routing: 'combine' }],
    ['a source in opset 17', { opset: 17 }],
  ] satisfies [string, Partial<LayerSpec>][])('for %s', (_name, spec) =>
    expect(errorsOf({ spec })).resolves.toSatisfy(within(1e-5)),
  );
});

const tanh: Activation = {
  ...silu,
  name: 'elementwise',
  formula: { opType: 'Tanh', inputs: ['x'], attributes: {} },
};

describe('QMoE refuses', () => {
  test.each([
    ['squared relu', { gated: false, activation: { ...silu, name: 'relu2' } }, /no activation relu2/],
    [
      'relu up to a limit',
      { gated: false, activation: { ...silu, name: 'relu', limit: 6 } },
      /cuts relu at no limit/,
    ],
    ['a function by no name', { gated: false, activation: tanh }, /no activation tanh/],
    ['a gate by no name', { activation: tanh }, /gate is tanh/],
    ['gated gelu', { activation: { ...silu, name: 'gelu' } }, /gate is gelu/],
    ['routing weights on the input', { appliesTo: 'input' }, /multiply the input/],
    ['rows that fill no whole bytes', { hidden: 37 }, /whole bytes/],
  ] satisfies [string, Partial<LayerSpec>, RegExp][])('%s', (_name, spec, why) => {
    const { layer } = syntheticLayer(spec);
    const resolved = resolveTarget({ scheme: 'w4a16', target: 'qmoe' });
    const fault = faultOf(() => requireEmittable(resolved, layer, noRotation));
    expect(fault.code).toBe('SCHEME_TARGET');
    expect(fault.why).toMatch(why);
    const emit = (): unknown => emitterFor(resolved, { layer, weightsOf: () => expect.unreachable() });
    expect(faultOf(emit).what).toBe(fault.what);
  });

  test('routing weights that may be negative', () => {
    const { layer, model } = syntheticLayer();
    const routing = explicitRouting(layer);
    routing.weights = builder(model.graph, 'test').op('Neg', [routing.weights]);
    const resolved = resolveTarget({ scheme: 'w4a16', target: 'qmoe' });
    const fault = faultOf(() => emitterFor(resolved, { layer, weightsOf: () => expect.unreachable() }));
    expect(fault.code).toBe('SCHEME_TARGET');
    expect(fault.why).toMatch(/may be negative/);
    // As dry runs ask.
    expect(faultOf(() => requireEmittable(resolved, layer, noRotation)).toRecord()).toEqual(fault.toRecord());
  });
});
