import { expect, test } from 'vitest';
import { inferShapes } from '../../src/moe/graph/shapes.ts';
import { spellEllipses } from '../../src/moe/rewrite/spell-ellipses.ts';
import type { Value } from '../../src/onnx/value.ts';
import { builder } from './helpers/build.ts';

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
