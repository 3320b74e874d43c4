import { expect, test } from 'vitest';
import { inferShapes } from '../../src/moe/graph/shapes.ts';
import { locate } from '../../src/moe/locate.ts';
import { spellEllipses } from '../../src/moe/rewrite/spell-ellipses.ts';
import type { Value } from '../../src/onnx/value.ts';
import { builder } from './helpers/build.ts';
import type { Part } from './helpers/parts.ts';
import { block, choose, experts, hidden, weight, width } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** The equation that is left of an Einsum of inputs of these ranks. */
function left(equation: string, ...ranks: (number | null)[]): string | undefined {
  const { graph, input, add, output } = builder();
  const operands = ranks.map((rank, at): Value => {
    const value = input(
      `x${at}`,
      Array.from({ length: rank ?? 2 }, (_, axis) => `n${axis}`),
    );
    return rank === null ? add('Unknown', [value]) : value;
  });
  output(add('Einsum', operands, { equation }));
  const shapes = inferShapes(graph, graph.sortedNodes());
  spellEllipses(graph, shapes);
  return graph.nodes.find(({ opType }) => opType === 'Einsum')!.string('equation');
}

test('ellipses are written out as the axes that they stand for', () => {
  expect(left('...nd,de->...ne', 4, 2)).toBe('ABnd,de->ABne');
  expect(left('... b n d, ... d e -> ... b n e', 3, 2)).toBe('bnd,de->bne');
});

test('those of several operands are the same axes, counted from the last', () => {
  expect(left('...nd,...de->...ne', 4, 3)).toBe('ABnd,Bde->ABne');
});

test('equations without one, without an arrow, or of unknown ranks stay', () => {
  expect(left('nd,de->ne', 2, 2)).toBe('nd,de->ne');
  expect(left('...d,...d', 3, 3)).toBe('...d,...d');
  expect(left('...nd,de->...ne', null, 2)).toBe('...nd,de->...ne');
});

/** Every expert on every token, weighed by a table of `axes`. */
const layer =
  (axes: string): Part =>
  (b, x) => {
    const einsum = (equation: string, ...operands: Value[]): Value => b.op('Einsum', operands, { equation });
    const scores = einsum('...d,de->...e', x, weight(b, 'router', [hidden, experts]));
    const [weights, indices] = choose(b, scores);
    const none = b.op('ConstantOfShape', [b.op('Shape', [scores])]);
    const shares = b.op('ScatterElements', [none, indices, weights], { axis: -1 });
    const up = einsum('...d,edf->...ef', x, weight(b, 'up', [experts, hidden, width]));
    const down = weight(b, 'down', [experts, width, hidden]);
    return einsum(`...ef,efd,${axes}->...d`, b.op('Relu', [up]), down, shares);
  };

test('experts whose Einsums have an ellipsis are read', async () => {
  const model = block(layer('...e'));
  const { layers } = locate(model);
  expect(layers).toMatchObject([{ quantizable: true, reason: '', form: 'dense' }]);
  const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model));
  expect(replayError(layers[0], values)).toBeLessThan(1e-5);
});

test('weights of other axes than the tokens have are refused', () => {
  expect(locate(block(layer('b...e'))).layers).toMatchObject([{ quantizable: false }]);
});
