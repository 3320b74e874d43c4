import { applyOperator } from './graph/scalar-function.ts';
import type { Formula } from './moe-layer.ts';

/** What a formula gives for one number. */
export function evaluateFormula(formula: Formula, x: number): number {
  if (formula === 'x') return x;
  if (typeof formula === 'number') return formula;
  const { opType, inputs, attributes } = formula;
  const operator = {
    opType,
    inputs,
    int: () => undefined,
    float: (name: string) => floatOf(attributes[name]),
    string: (name: string) => textOf(attributes[name]),
  };
  const input = (index: number): number | null => {
    const given = inputs[index] ?? null;
    return given === null ? null : evaluateFormula(given, x);
  };
  return applyOperator(operator, input) ?? NaN;
}

type Attribute = string | { f: number } | undefined;

const floatOf = (value: Attribute): number | undefined => (typeof value === 'object' ? value.f : undefined);
const textOf = (value: Attribute): string | undefined => (typeof value === 'string' ? value : undefined);
