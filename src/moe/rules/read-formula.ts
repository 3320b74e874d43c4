import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { isFloatCode } from '../../tensor/dtype.ts';
import { evaluateFormula } from '../formula.ts';
import type { LinearNode } from '../graph/linear-node.ts';
import { elementwiseOps, layoutOps } from '../graph/operators.ts';
import { evaluate } from '../graph/scalar-function.ts';
import type { Formula, FormulaStep } from '../moe-layer.ts';
import type { ActivationLeaf } from './fit-activation.ts';

/** Longer expressions are no activations; one that uses its own results again and again would grow without end. */
const maxSteps = 64;

/**
 * What the graph computes from the outputs of a linear, operator by operator, so that it can be written anew without
 * being known by name. Null where anything but single elements and constants takes part, or where a number of `probes`
 * would give none.
 */
export function readFormula(
  value: Value,
  { names, fused }: ActivationLeaf,
  probes: readonly number[],
): Formula | null {
  let steps = 0;
  const read = (each: Value): Formula | null => {
    if (names.includes(each)) return fused;
    const constant = evaluate(each, new Map());
    const node = each.producer;
    if (constant !== null || !node || steps++ >= maxSteps) return constant;
    if (node.opType === 'Cast') return asFloat(node, read(node.inputs[0]!));
    return layoutOps.has(node.opType) ? read(node.inputs[0]!) : stepOf(node, read);
  };
  const formula = read(value);
  // What is the same for all numbers would be no row.
  if (formula === null || typeof formula === 'number') return null;
  return probes.every((x) => Number.isFinite(evaluateFormula(formula, x))) ? formula : null;
}

function step(
  opType: string,
  inputs: FormulaStep['inputs'],
  attributes: FormulaStep['attributes'] = {},
): FormulaStep {
  return { opType, inputs, attributes };
}

const conditions = new Set(['Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'And', 'Or', 'Not']);

/** A cast between floats changes nothing here, where all is computed in one type; others change numbers. */
function asFloat(cast: Node, formula: Formula | null): Formula | null {
  if (!isFloatCode(cast.int('to'))) return null;
  const isCondition = typeof formula === 'object' && formula !== null && conditions.has(formula.opType);
  return isCondition ? step('Where', [formula, 1, 0]) : formula;
}

/** Operators of other domains, written by those of ONNX. */
const written: Record<string, (x: Formula, node: Node) => Formula> = {
  Silu: (x) => silu(x, 1),
  Swish: (x, node) => silu(x, node.float('alpha') ?? 1),
  QuickGelu: (x, node) => silu(x, node.float('alpha') ?? 1.702),
  Gelu: (x, node) => step('Gelu', [x], attributesOf(node)),
  FastGelu: (x) => step('Gelu', [x], { approximate: 'tanh' }),
};

function silu(x: Formula, alpha: number): Formula {
  return step('Mul', [x, step('Sigmoid', [step('Mul', [x, alpha])])]);
}

function stepOf(node: Node, read: (value: Value) => Formula | null): Formula | null {
  const { opType, inputs } = node;
  if (!elementwiseOps.has(opType) && !conditions.has(opType)) return null;
  const operands = inputs.map((input) => input && read(input));
  const [x] = operands;
  if (x === null || operands.some((each, at) => each === null && inputs[at])) return null;
  if (Object.hasOwn(written, opType)) return operands.length === 1 ? written[opType](x, node) : null;
  if (node.domain !== '') return null;
  // Its bounds were attributes once.
  const [low, high] = ['min', 'max'].map((name) => node.float(name));
  return opType === 'Clip'
    ? step(opType, [x, low ?? operands[1] ?? null, high ?? operands[2] ?? null])
    : step(opType, operands, attributesOf(node));
}

function attributesOf(node: Node, prefix = ''): FormulaStep['attributes'] {
  const approximate = node.string('approximate');
  const numbers = ['alpha', 'beta', 'gamma'].flatMap((name) => {
    const f = node.float(`${prefix}${name}`);
    return f === undefined ? [] : [[name, { f }] as const];
  });
  return { ...Object.fromEntries(numbers), ...(approximate !== undefined && { approximate }) };
}

/** What a fused linear does to its product by itself; no number for factors that are not told by name. */
export function fusedFormula({ fused, node }: Pick<LinearNode, 'fused' | 'node'>): Formula {
  if (node.attributes.has('activation_params')) return NaN;
  return fused === null ? 'x' : step(fused, ['x'], attributesOf(node, 'activation_'));
}
