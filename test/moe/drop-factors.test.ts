import { expect, test } from 'vitest';
import { dropFactors } from '../../src/moe/rewrite/drop-factors.ts';
import { builder as bareBuilder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import { builder } from './helpers/build.ts';

/** The operators that are left of relu(op(x, constant)) or relu(op(constant, x)). */
function left(opType: string, constant: number, shape: number[], isFirst = false): string[] {
  const { graph, input, add, output } = builder();
  const x = input('x', ['n', 4]);
  const value: Value = bareBuilder(graph, 'c').constant('factor', 'float32', shape, [constant]);
  output(add('Relu', [add(opType, isFirst ? [value, x] : [x, value])]));
  dropFactors(graph);
  return graph.sortedNodes().map((node) => node.opType);
}

test('products with one go, on either side, and quotients by one', () => {
  expect(left('Mul', 1, [])).toEqual(['Relu']);
  expect(left('Mul', 1, [], true)).toEqual(['Relu']);
  expect(left('Div', 1, [])).toEqual(['Relu']);
});

test('what changes a number or may change a shape stays', () => {
  expect(left('Mul', 2, [])).toEqual(['Mul', 'Relu']);
  expect(left('Mul', 1, [1])).toEqual(['Mul', 'Relu']);
  expect(left('Div', 1, [], true)).toEqual(['Div', 'Relu']);
  expect(left('Add', 1, [])).toEqual(['Add', 'Relu']);
});
