import { expect, it } from 'vitest';
import { activationName } from '../../src/moe/activation-name.ts';
import type { Activation, Formula } from '../../src/moe/moe-layer.ts';

const plain = { alpha: 1, limit: null, upOffset: 0 };

function step(opType: string, ...inputs: Formula[]): Formula {
  return { opType, inputs, attributes: {} };
}

const exponential = step('Where', step('Greater', 'x', 0), 'x', step('Sub', step('Exp', 'x'), 1));

it.each<[string, Formula]>([
  ['tanh', step('Tanh', 'x')],
  ['sigmoid', step('Reciprocal', step('Add', step('Exp', step('Neg', 'x')), 1))],
  ['mish', step('Mul', 'x', step('Tanh', step('Softplus', 'x')))],
  ['softplus', step('Softplus', 'x')],
  ['hardswish', step('Div', step('Mul', 'x', step('Clip', step('Add', 'x', 3), 0, 6)), 6)],
  ['relu6', step('Min', step('Relu', 'x'), 6)],
  ['selu', step('Selu', 'x')],
  ['leaky_relu', step('Max', 'x', step('Mul', 'x', 0.2))],
  ['elu', exponential],
  ['abs', step('Abs', 'x')],
  ['elementwise', step('Mul', step('Tanh', 'x'), 2)],
])('a formula is told as %s', (name, formula) => {
  expect(activationName({ ...plain, name: 'elementwise', formula })).toBe(name);
});

it.each<[string, Activation]>([
  ['silu', { ...plain, name: 'silu' }],
  ['silu', { name: 'silu', alpha: 1.702, limit: 7, upOffset: 1 }],
  ['gelu-tanh', { ...plain, name: 'gelu-tanh' }],
])('what the record has a name for is told as %s', (name, activation) => {
  expect(activationName(activation)).toBe(name);
});
