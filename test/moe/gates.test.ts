import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import {
  block,
  expert,
  experts,
  hidden,
  k,
  logits,
  maskedExperts,
  scalar,
  sum,
  weight,
} from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** Every expert on every token, times its column of `gates`. */
function gated(gates: Part): Part {
  return (b, x) => {
    const table = gates(b, x);
    const column = (e: number): Value => b.op('Slice', [table, b.ints([e]), b.ints([e + 1]), b.ints([-1])]);
    return sum(
      b,
      Array.from({ length: experts }, (_, e) => b.op('Mul', [expert(b, x, e), column(e)])),
    );
  };
}

const sigmoid: Part = (b, x) => b.op('Sigmoid', [logits(b, x)]);
const overSum: Part = (b, x) => b.op('Div', [x, b.op('ReduceSum', [x, b.ints([-1])])]);
const bool: Part = (b, x) => b.op('Cast', [x], { to: 1 });

/** Columns by the position of a token's largest channel: no linear makes them. */
const tokenHash: Part = (b, x) =>
  b.op('Gather', [weight(b, 'table', [hidden, experts]), b.op('ArgMax', [x], { axis: -1, keepdims: 0 })]);

const gates: Record<string, Part> = {
  'relu (ReMoE)': (b, x) => b.op('Relu', [logits(b, x)]),
  sigmoid,
  'sigmoid over its sum': (b, x) => overSum(b, sigmoid(b, x)),
  'sigmoid above a threshold': (b, x) => {
    const share = sigmoid(b, x);
    return b.op('Mul', [share, bool(b, b.op('Greater', [share, scalar(b, 0.5)]))]);
  },
  'logits above zero': (b, x) => bool(b, b.op('Greater', [logits(b, x), scalar(b, 0)])),
  'a softmax written out': (b, x) => overSum(b, b.op('Exp', [logits(b, x)])),
  'equal to the largest': (b, x) => {
    const scores = logits(b, x);
    return bool(b, b.op('Equal', [scores, b.op('ReduceMax', [scores, b.ints([-1])])]));
  },
};

describe('routers that choose by gates alone', () => {
  it.each(Object.entries(gates))('%s', async (_name, part) => {
    const model = block(gated(part));
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({ form: 'dense', quantizable: true, router: { experts, topK: null } });
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });

  it('the gate of a GLU is none of them', () => {
    expect(locate(block((b, x) => expert(b, x, 0)))).toEqual({ layers: [], rejected: [], leftOut: [] });
  });
});

/** A layer that is found beside one that is not, which reads something else. */
const besideHash: Part = (b, x) => sum(b, [gated(sigmoid)(b, x), gated(tokenHash)(b, b.op('Tanh', [x]))]);

const first = (b: Builder, table: Value, count: number): Value =>
  b.op('Slice', [table, b.ints([0]), b.ints([count]), b.ints([-1])]);
const sorted =
  (counts: [number, number], attributes = {}): Part =>
  (b, x) => {
    const scores = b.op('Softmax', [logits(b, x)], { axis: -1 });
    const size = b.op('Slice', [b.op('Shape', [scores]), b.ints([-1]), b.ints([9]), b.ints([0])]);
    const [weights, indices] = b.ops(2, 'TopK', [scores, size], attributes);
    return maskedExperts(b, x, [first(b, weights, counts[0]), first(b, indices, counts[1])]);
  };

describe('a choice written as a sort', () => {
  it('is a top-k where the first k are all that is read', async () => {
    const model = block(sorted([k, k]));
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({
      quantizable: true,
      router: { topK: k },
      boundary: { routing: { kind: 'topk', k } },
    });
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });

  it.each([
    ['its readers cut it at different places', sorted([k, k + 1])],
    ['it does not sort', sorted([k, k], { sorted: 0 })],
  ])('stays a sort where %s', (_why, part) => {
    const [layer] = locate(block(part)).layers;
    expect(layer).toMatchObject({
      quantizable: false,
      reason: 'the number of experts per token is not fixed',
    });
  });
});

it('experts without a router that is known are told of', () => {
  const { layers, rejected } = locate(block(gated(tokenHash)));
  expect(layers).toEqual([]);
  expect(rejected.map(({ reason }) => reason)).toEqual([
    expect.stringMatching(/^8 weights of 12 by 8 stand side by side here/),
  ]);
});

it('experts like those of a layer that belong to none are told of beside it', () => {
  const { layers, leftOut } = locate(block(besideHash));
  expect(layers).toHaveLength(1);
  expect(leftOut.map(({ reason }) => reason)).toEqual([
    expect.stringMatching(/^8 weights of 12 by 8, as experts of L0 have, .* belong to no layer/),
  ]);
});
