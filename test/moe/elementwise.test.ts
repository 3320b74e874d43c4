import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { expert, Part } from './helpers/parts.ts';
import { block, choose, hidden, logits, maskedExperts, weight, width } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const mish: Part = (b, x) => b.op('Mul', [x, b.op('Tanh', [b.op('Softplus', [x])])]);

const withGate =
  (activate: Part): typeof expert =>
  (b, x, e) => {
    const first = (name: string): Value => b.op('MatMul', [x, weight(b, `${name}.${e}`, [hidden, width])]);
    const inner = b.op('Mul', [first('up'), activate(b, first('gate'))]);
    return b.op('MatMul', [inner, weight(b, `down.${e}`, [width, hidden])]);
  };

const withoutGate =
  (activate: Part): typeof expert =>
  (b, x, e) => {
    const up = b.op('MatMul', [x, weight(b, `up.${e}`, [hidden, width])]);
    return b.op('MatMul', [activate(b, up), weight(b, `down.${e}`, [width, hidden])]);
  };

it.each([
  ['a gate', withGate(mish)],
  ['no gate', withoutGate(mish)],
])('a function by no name is read as it is written, with %s', async (_, write) => {
  const model = block((b, x) => maskedExperts(b, x, choose(b, logits(b, x)), write));
  const { layers } = locate(model);
  expect(layers).toMatchObject([{ quantizable: true, reason: '', activation: { name: 'elementwise' } }]);
  const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model));
  expect(replayError(layers[0], values)).toBeLessThan(1e-5);
});
