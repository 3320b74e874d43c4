import { expect, test } from 'vitest';
import { dropIdle } from '../../src/moe/rewrite/drop-idle.ts';
import { builder as bareBuilder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { DataType } from '../../src/tensor/dtype.ts';
import { codeOf } from '../../src/tensor/dtype.ts';
import { builder } from './helpers/build.ts';

/** The operators that are left of relu(op(x, constant)) or relu(op(constant, x)). */
function left(opType: string, constant: number, shape: number[], isFirst = false): string[] {
  const { graph, input, add, output } = builder();
  const x = input('x', ['n', 4]);
  const value: Value = bareBuilder(graph, 'c').constant('factor', 'float32', shape, [constant]);
  output(add('Relu', [add(opType, isFirst ? [value, x] : [x, value])]));
  dropIdle(graph);
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

/** The operators that are left of casts of x to these types, one after another. */
function leftOf(...types: DataType[]): string[] {
  const { graph, input, add, output } = builder();
  const cast = (value: Value, type: DataType): Value => add('Cast', [value], { to: codeOf(type) });
  output(add('Relu', [types.reduce(cast, input('x', ['n', 4]))]));
  dropIdle(graph);
  return graph.sortedNodes().map((node) => node.opType);
}

test('casts to the type of a value go, wherever it is known from', () => {
  expect(leftOf('float32', 'float32')).toEqual(['Relu']);
  expect(leftOf('float16', 'float16')).toEqual(['Cast', 'Relu']);
  expect(leftOf('float16', 'float32')).toEqual(['Cast', 'Cast', 'Relu']);
});

test('a bound of one value and a spread over its own shape go, a bound of two and another shape stay', () => {
  const { graph, input, add, output } = builder();
  const x = input('x', ['n', 4]);
  const own = add('Expand', [add('Max', [x]), add('Shape', [x])]);
  output(add('Expand', [add('Max', [own, x]), add('Shape', [own], { start: 1 })]));
  dropIdle(graph);
  expect(graph.sortedNodes().map(({ opType }) => opType)).toEqual(['Shape', 'Max', 'Shape', 'Expand']);
});
