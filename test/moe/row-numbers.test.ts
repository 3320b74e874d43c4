import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import { block, choose, expert, experts, flat, k, logits, scatter } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** Every expert on the choices [tokens · k] that are its own, whose tokens are looked up in a list of row numbers. */
const layer =
  (repeat: (b: Builder, numbers: Value, count: Value) => Value): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    const [weights, indices] = choose(b, logits(b, tokens)).map((each) =>
      b.op('Reshape', [each, b.ints([-1])]),
    );
    const count = b.op('Shape', [tokens], { start: 0, end: 1 });
    const numbers = b.op('Range', [b.ints(0), b.op('Squeeze', [count, b.ints([0])]), b.ints(1)]);
    const rowOf = b.op('Reshape', [repeat(b, numbers, count), b.ints([-1])]);
    const add = (total: Value, e: number): Value => {
      const places = b.op('Squeeze', [b.op('NonZero', [b.op('Equal', [indices, b.ints(e)])]), b.ints([0])]);
      const rows = b.op('Gather', [rowOf, places]);
      const shares = b.op('Unsqueeze', [b.op('Gather', [weights, places]), b.ints([-1])]);
      return scatter('add')(
        b,
        total,
        rows,
        b.op('Mul', [expert(b, b.op('Gather', [tokens, rows]), e), shares]),
      );
    };
    const zeros = b.op('ConstantOfShape', [b.op('Shape', [tokens])]);
    return b.op('Reshape', [
      Array.from({ length: experts }, (_, e) => e).reduce(add, zeros),
      b.op('Shape', [x]),
    ]);
  };

const shapeOf = (b: Builder, ...dims: Value[]): Value => b.op('Concat', dims, { axis: 0 });

it('row numbers that are repeated once per choice tell the tokens of choices', async () => {
  const inPlace = layer((b, numbers, count) =>
    b.op('Expand', [b.op('Unsqueeze', [numbers, b.ints([1])]), shapeOf(b, count, b.ints([k]))]),
  );
  const model = block(inPlace);
  const { layers } = locate(model);
  expect(layers).toMatchObject([{ quantizable: true, reason: '', form: 'loop', router: { topK: k } }]);
  const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model));
  expect(replayError(layers[0], values)).toBeLessThan(1e-5);
});

it('row numbers in another order are refused', () => {
  const oneAfterTheOther = layer((b, numbers, count) =>
    b.op('Expand', [b.op('Unsqueeze', [numbers, b.ints([0])]), shapeOf(b, b.ints([k]), count)]),
  );
  expect(locate(block(oneAfterTheOther)).layers[0]?.reason).toMatch(/table of chosen experts was not found/);
});
