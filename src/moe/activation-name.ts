import { evaluateFormula } from './formula.ts';
import type { Activation, Formula, FormulaStep } from './moe-layer.ts';

/** What an activation is told by: by the name that torch has for it, where there is one. */
export function activationName({ name, formula }: Activation): string {
  return name === 'elementwise' ? formulaName(formula!) : name;
}

const points = [-4.2, -2.6, -1, -0.3, 0, 0.4, 1, 2.7, 8.5];

function formulaName(formula: Formula): string {
  const below = evaluateFormula(formula, -1);
  const isFormula = ([, known]: readonly [string, Formula]): boolean =>
    points.every((x) => Math.abs(evaluateFormula(formula, x) - evaluateFormula(known, x)) < 1e-5);
  return namedFormulas(below).find(isFormula)?.[0] ?? 'elementwise';
}

/** Functions that have a name; those with a factor below zero with the one that makes them `below` at minus one. */
function namedFormulas(below: number): (readonly [string, Formula])[] {
  return [
    ['tanh', of('Tanh')],
    ['sigmoid', of('Sigmoid')],
    ['softplus', of('Softplus')],
    ['mish', of('Mish')],
    ['selu', of('Selu')],
    ['hardswish', of('HardSwish')],
    ['relu6', { opType: 'Clip', inputs: ['x', 0, 6], attributes: {} }],
    ['abs', of('Abs')],
    ['leaky_relu', of('LeakyRelu', { alpha: { f: -below } })],
    ['elu', of('Elu', { alpha: { f: below / Math.expm1(-1) } })],
  ];
}

function of(opType: string, attributes: FormulaStep['attributes'] = {}): Formula {
  return { opType, inputs: ['x'], attributes };
}
