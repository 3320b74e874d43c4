import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import { block, choose, expert, experts, flat, hidden, k, logits } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

interface Ways {
  /** Where the choices [tokens · k] are those of expert `e`. */
  mask: (b: Builder, choices: Value, e: number) => Value;
  /** What is written of an expert's outputs, element by element at `places`. */
  updates: (b: Builder, outputs: Value, places: Value) => Value;
}

const equal: Ways['mask'] = (b, choices, e) => b.op('Equal', [choices, b.ints(e)]);
const transposed = (b: Builder, places: Value): Value => b.op('Transpose', [places], { perm: [1, 0] });
const countOf = (b: Builder, places: Value): Value => b.op('Shape', [places], { start: 0, end: 1 });
const elements = (b: Builder, outputs: Value): Value => b.op('Reshape', [outputs, b.ints([-1])]);

/** Elements from the `start`th on, as many as there are places. */
const cutFrom =
  (start: number): Ways['updates'] =>
  (b, outputs, places) =>
    b.op('Slice', [
      elements(b, b.op('Concat', [outputs, outputs], { axis: 0 })),
      b.ints([start]),
      b.op('Add', [countOf(b, places), b.ints([start])]),
      b.ints([0]),
    ]);

/** As TorchScript writes it: what is written is cut to the number of places. */
const byScript: Ways = {
  mask: equal,
  updates: (b, outputs, places) =>
    b.op('Slice', [elements(b, outputs), b.ints([0]), countOf(b, places), b.ints([0])]),
};

/** As torch.export writes it: what is written is spread over the rows that the mask lets through. */
const byExport: Ways = {
  mask: equal,
  updates: (b, outputs) => elements(b, b.op('Expand', [outputs, b.op('Shape', [outputs])])),
};

/** `y[choices == e] = expert(repeated[choices == e])` for every expert, then the weighed sum over each token's choices. */
const layer =
  ({ mask, updates }: Ways): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    const [weights, indices] = choose(b, logits(b, tokens));
    const spread = b.op('Expand', [b.op('Unsqueeze', [tokens, b.ints([1])]), b.ints([1, k, 1])]);
    const repeated = flat(b, spread);
    const choices = elements(b, indices);
    const shape = b.op('Shape', [repeated]);
    const write = (y: Value, e: number): Value => {
      const chosen = mask(b, choices, e);
      const rows = transposed(b, b.op('NonZero', [chosen]));
      const outputs = expert(b, b.op('GatherND', [repeated, rows]), e);
      const wide = b.op('Expand', [b.op('Unsqueeze', [chosen, b.ints([-1])]), shape]);
      const places = transposed(b, b.op('NonZero', [wide]));
      return b.op('ScatterND', [y, places, updates(b, outputs, places)]);
    };
    const zeros = b.op('ConstantOfShape', [shape]);
    const y = Array.from({ length: experts }, (_, e) => e).reduce(write, zeros);
    const weighed = b.op('Mul', [
      b.op('Reshape', [y, b.ints([-1, k, hidden])]),
      b.op('Unsqueeze', [weights, b.ints([-1])]),
    ]);
    const sum = b.op('ReduceSum', [weighed, b.ints([1])], { keepdims: 0 });
    return b.op('Reshape', [sum, b.op('Shape', [x])]);
  };

it.each([
  ['TorchScript', byScript],
  ['torch.export', byExport],
])('writes to where a choice equals each number once are a sum, as %s has them', async (_exporter, ways) => {
  const model = block(layer(ways));
  const { layers } = locate(model);
  expect(layers).toMatchObject([{ quantizable: true, reason: '', router: { topK: k } }]);
  const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model));
  expect(replayError(layers[0], values)).toBeLessThan(1e-5);
});

describe('writes that may put two rows in one place, or others than they seem to, are refused', () => {
  it.each<[string, Ways, RegExp]>([
    [
      'masks that overlap',
      {
        ...byExport,
        mask: (b, choices, e) => b.op('Not', [b.op('Greater', [choices, b.ints(e)])]),
      },
      /overwrites what other experts of a token gave/,
    ],
    [
      'choices that were changed for some expert',
      {
        ...byExport,
        mask: (b, choices, e) => equal(b, e > 1 ? b.op('Abs', [choices]) : choices, e),
      },
      /overwrites what other experts of a token gave/,
    ],
    [
      'elements from the second on',
      { ...byExport, updates: cutFrom(1) },
      /is not added to that of the other/,
    ],
  ])('%s', (_what, ways, reason) => {
    expect(locate(block(layer(ways))).layers[0]?.reason).toMatch(reason);
  });
});
