import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import { block, choose, expert, experts, logits, sum } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** The share of an expert, made of another type on its way. */
const shareOf = (b: Builder, [weights, indices]: [Value, Value], e: number, type: number): Value => {
  const cast = (value: Value, to: number): Value => b.op('Cast', [value], { to });
  const product = b.op('Mul', [weights, cast(b.op('Equal', [indices, b.ints(e)]), 1)]);
  return cast(b.op('ReduceSum', [cast(product, type), b.ints([-1])], { keepdims: 1 }), 1);
};

it('masked weights may be added up in another type', async () => {
  const double = 11;
  const model = block((b, x) => {
    const chosen = choose(b, logits(b, x));
    return sum(
      b,
      Array.from({ length: experts }, (_, e) =>
        b.op('Mul', [expert(b, x, e), shareOf(b, chosen, e, double)]),
      ),
    );
  });
  const { layers } = locate(model);
  expect(layers).toMatchObject([{ quantizable: true, reason: '', form: 'dense' }]);
  const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model));
  expect(replayError(layers[0], values)).toBeLessThan(1e-5);
});
