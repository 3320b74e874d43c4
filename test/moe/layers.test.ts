import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Builder } from './helpers/build.ts';
import { builder } from './helpers/build.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const [hidden, width, experts, k] = [8, 12, 4, 2];

interface Options {
  /** The order in which the experts are written. */
  order?: number[];
  /** What the experts read, made from the norm's output. */
  reads?: (build: Builder, x: Value) => Value;
  /** What else the graph does with the norm's output. */
  beside?: (build: Builder, x: Value) => void;
  scale?: (build: Builder) => Value;
}

/** All experts on all tokens, weighed by sums over `weights * (indices == e)`: how mobius writes a layer. */
function maskedLayer({ order = [0, 1, 2, 3], reads, beside, scale }: Options = {}): Builder {
  const build = builder();
  const { add, many, weight, ints, index } = build;
  const residual = build.input('hidden_states', ['batch', 'sequence', hidden]);
  const x = add('RMSNormalization', [residual, scale?.(build) ?? weight('norm.weight', [hidden])], {
    axis: -1,
  });
  beside?.(build, x);
  const logits = add('MatMul', [
    x,
    add('Transpose', [weight('gate.weight', [experts, hidden])], { perm: [1, 0] }),
  ]);
  const [weights, indices] = many('TopK', 2, [add('Softmax', [logits], { axis: -1 }), ints(k)]);
  const outputs = order.map((e) => {
    const mask = add('Cast', [add('Equal', [indices, index(e)])], { to: 1 });
    const share = add('ReduceSum', [add('Mul', [weights, mask]), ints(-1)], { keepdims: 1 });
    return add('Mul', [expert(build, reads ? reads(build, x) : x, e), share]);
  });
  build.output(add('Add', [residual, outputs.reduce((sum, each) => add('Add', [sum, each]))]));
  return build;
}

function expert({ add, weight }: Builder, x: Value, e: number): Value {
  const gate = add('MatMul', [x, weight(`experts.${e}.gate`, [hidden, width])]);
  const up = add('MatMul', [x, weight(`experts.${e}.up`, [hidden, width])]);
  const inner = add('Mul', [add('Mul', [gate, add('Sigmoid', [gate])]), up]);
  return add('MatMul', [inner, weight(`experts.${e}.down`, [width, hidden])]);
}

function onlyLayer({ model }: Builder): MoeLayer {
  const { layers } = locate(model);
  expect(layers).toHaveLength(1);
  return layers[0];
}

function alsoTanh({ add, output }: Builder, x: Value): void {
  output(add('Tanh', [x]));
}

function sharedScale({ add, weight, output }: Builder): Value {
  const shared = weight('norm.weight', [hidden]);
  output(add('Neg', [shared]));
  return shared;
}

function fused(opType: 'MoE' | 'QMoE', scores: (build: Builder, logits: Value) => (Value | null)[]): Builder {
  const build = builder();
  const { add, weight } = build;
  const x = build.input('hidden_states', ['batch', 'sequence', hidden]);
  const logits = add('Reshape', [
    add('MatMul', [x, weight('gate', [hidden, experts])]),
    build.ints(-1, experts),
  ]);
  const attributes = { k, activation_type: 'swiglu', swiglu_fusion: 1, normalize_routing_weights: 1 };
  build.output(add(opType, [x, logits, ...scores(build, logits)], attributes));
  return build;
}

describe('the order of experts', () => {
  it('follows the router, not the file', async () => {
    const build = maskedLayer({ order: [2, 0, 3, 1] });
    const layer = onlyLayer(build);
    expect(layer.experts.map(({ up }) => up!.name)).toEqual([
      'experts.0.up',
      'experts.1.up',
      'experts.2.up',
      'experts.3.up',
    ]);
    build.model.opsets.set('', 23);
    const values = await valuesOf(build.model, replayValues(layer.boundary!), randomFeeds(build.model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });

  it('is refused when two experts answer to the same column', () => {
    const layer = onlyLayer(maskedLayer({ order: [0, 1, 1, 3] }));
    expect(layer.quantizable).toBe(false);
    expect(layer.reason).toContain('which router column belongs to which expert could not be told');
  });
});

describe('the norm before a layer', () => {
  it('takes a scale when only linears of the layer read it', () => {
    expect(onlyLayer(maskedLayer()).norm).toMatchObject({ op: 'RMSNorm', foldable: true, reason: '' });
  });

  it('does not when something else reads it, and says what', () => {
    const { norm } = onlyLayer(maskedLayer({ beside: alsoTanh }));
    expect(norm).toMatchObject({ foldable: false, reason: expect.stringMatching(/tanh/i) });
  });

  it('does not when its weight serves elsewhere too', () => {
    expect(onlyLayer(maskedLayer({ scale: sharedScale })).norm).toMatchObject({
      foldable: false,
      reason: 'its parameters are read elsewhere too',
    });
  });
});

describe('an unknown step before the experts', () => {
  it('keeps the layer from being written anew', () => {
    const layer = onlyLayer(
      maskedLayer({ reads: ({ add, weight }, x) => add('MatMul', [x, weight('mix', [hidden, hidden])]) }),
    );
    expect(layer.quantizable).toBe(false);
  });
});

describe('fused operators', () => {
  it('are read through their attributes', async () => {
    const build = fused('MoE', ({ weight }) => [
      weight('fc1', [experts, 2 * width, hidden]),
      null,
      weight('fc2', [experts, hidden, width]),
    ]);
    const layer = onlyLayer(build);
    expect(layer).toMatchObject({
      form: 'fused',
      hidden,
      intermediate: width,
      gated: true,
      quantizable: true,
    });
    expect(layer.router).toMatchObject({ experts, topK: k, scoring: 'topk-softmax' });
    // Rows of gate and up alternate.
    expect(layer.experts[1].up!.weight).toMatchObject({
      rows: width,
      cols: hidden,
      offset: (2 * width + 1) * hidden,
      rowStride: 2 * hidden,
    });
    const values = await valuesOf(build.model, replayValues(layer.boundary!), randomFeeds(build.model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });

  it('take their scoring from the graph when it gives the mixing weights, and are not quantized twice', () => {
    const build = fused('QMoE', ({ add, weight }, logits) => [
      weight('fc1', [experts, 2 * width, hidden / 2]),
      weight('fc1_scales', [experts, 2 * width]),
      null,
      weight('fc2', [experts, hidden, width / 2]),
      weight('fc2_scales', [experts, hidden]),
      ...Array<null>(7).fill(null),
      add('Sigmoid', [logits]),
    ]);
    const layer = onlyLayer(build);
    expect(layer).toMatchObject({
      hidden,
      intermediate: width,
      gated: true,
      quantizable: false,
      reason: 'it is quantized already (QMoE)',
    });
    expect(layer.router.scoring).toBe('sigmoid');
  });
});

describe('what is no mixture of experts', () => {
  it('a choice of tokens by one score (mixture of depths)', () => {
    const build = builder();
    const { add, many, weight, ints } = build;
    const x = build.input('hidden_states', [2, 12, hidden]);
    const [, indices] = many('TopK', 2, [
      add('Squeeze', [add('MatMul', [x, weight('score', [hidden, 1])]), ints(-1)]),
      ints(4),
    ]);
    build.output(
      add('MatMul', [
        add('GatherND', [x, add('Unsqueeze', [indices, ints(-1)])], { batch_dims: 1 }),
        weight('w', [hidden, hidden]),
      ]),
    );
    const { layers, rejected } = locate(build.model);
    expect(layers).toEqual([]);
    expect(rejected.map(({ reason }) => reason)).toEqual([expect.stringContaining('one column')]);
  });

  it('a classifier over one network', () => {
    const build = builder();
    const { add, weight } = build;
    const x = build.input('hidden_states', ['batch', 'sequence', hidden]);
    build.output(
      add('Softmax', [add('MatMul', [expert(build, x, 0), weight('head', [hidden, 5])])], { axis: -1 }),
    );
    expect(locate(build.model).layers).toEqual([]);
  });
});
