import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { activate } from '../activation.ts';
import { evaluateFormula } from '../formula.ts';
import { tensorOf } from '../graph/constant.ts';
import { elementwiseOps, layoutOps } from '../graph/operators.ts';
import { evaluate } from '../graph/scalar-function.ts';
import type { Activation, Formula } from '../moe-layer.ts';
import { readFormula } from './read-formula.ts';

/** A leaf of the expression: every name it is read by, and what the operator that makes it has done to it already. */
export interface ActivationLeaf {
  names: readonly Value[];
  fused: Formula;
}

/** An activation together with which leaf is the gate (null for ungated experts). */
export interface FittedActivation<Leaf> {
  activation: Activation;
  gate: Leaf | null;
  up: Leaf;
}

const grid = [-9.3, -3.1, -1.7, -0.6, -0.2, 0.3, 0.9, 1.6, 2.8, 4.1, 8.7];

/** A bound shows only beyond it, and a threshold between zero and it, wherever the grid ends. */
function probesAround(constants: readonly number[]): number[] {
  return [
    ...new Set([...grid, ...constants.flatMap((each) => [-1.3, -0.7, 0.7, 1.3].map((by) => by * each))]),
  ];
}

/**
 * Names the elementwise function between the leaves and `value` by its values: it is evaluated on a grid and compared
 * with every known activation. This sees through any way of writing it. One that is not known is taken as it is written.
 */
export function fitActivation<Leaf extends ActivationLeaf>(
  value: Value,
  leaves: readonly Leaf[],
): FittedActivation<Leaf> {
  const [first, second] = leaves;
  const { constants, isHalf } = constantsBetween(value, new Set(leaves.flatMap(({ names }) => names)));
  const points = { probes: probesAround(constants), tolerance: isHalf ? halfTolerance : tolerance };
  const unknown: Activation = { name: 'unknown', alpha: 1, limit: null, upOffset: 0 };
  if (leaves.length === 1) {
    const activation = ungated(constants).find((each) =>
      agrees(value, each, { gate: null, up: first }, points),
    );
    const formula = activation ? null : readFormula(value, first, points.probes);
    return { activation: activation ?? elementwise(formula) ?? unknown, gate: null, up: first };
  }
  const orders = leaves.length === 2 ? [leaves, leaves.toReversed()] : [];
  for (const [gate, up] of orders) {
    const activation = gated(constants).find((each) => agrees(value, each, { gate, up }, points));
    if (activation) return { activation, gate, up };
  }
  for (const [gate, up] of orders) {
    const activation = elementwise(formulaOfGate(value, { gate, up }, points));
    if (activation) return { activation, gate, up };
  }
  return { activation: unknown, gate: second ? first : null, up: second ?? first };
}

function elementwise(formula: Formula | null): Activation | null {
  return formula === null ? null : { name: 'elementwise', alpha: 1, limit: null, upOffset: 0, formula };
}

/** What up is multiplied by, where it is read as it is and nothing is done afterwards. */
function formulaOfGate(
  value: Value,
  { gate, up }: { gate: ActivationLeaf; up: ActivationLeaf },
  points: Points,
): Formula | null {
  const { opType = '', inputs = [] } = value.producer ?? {};
  if (layoutOps.has(opType)) return formulaOfGate(inputs[0]!, { gate, up }, points);
  const at =
    opType === 'Mul' ? inputs.findIndex((each) => readFormula(each!, up, points.probes) === 'x') : -1;
  return at < 0 ? null : readFormula(inputs[1 - at]!, gate, points.probes);
}

/** Where a function is compared, and how near it must be, as a share of one more than its size. */
interface Points {
  probes: readonly number[];
  tolerance: number;
}

const tolerance = 1e-5;
/** The root of two as a half float, in GELU, moves it by so much; its approximation by tanh is further away. */
const halfTolerance = 6e-5;

function agrees(
  value: Value,
  activation: Activation,
  { gate, up }: { gate: ActivationLeaf | null; up: ActivationLeaf },
  { probes, tolerance }: Points,
): boolean {
  const given = (leaf: ActivationLeaf | null, x: number): (readonly [Value, number])[] =>
    leaf?.names.map((name) => [name, evaluateFormula(leaf.fused, x)] as const) ?? [];
  return probes.every((u) =>
    (gate ? probes : [0]).every((g) => {
      const leaves = new Map([...given(up, u), ...given(gate, g)]);
      const actual = evaluate(value, leaves);
      const expected = activate(activation, gate && g, u);
      // What is off in the function of the gate is multiplied by up.
      const size = (1 + Math.abs(expected)) * (gate ? Math.max(1, Math.abs(u)) : 1);
      return actual !== null && Math.abs(actual - expected) <= tolerance * size;
    }),
  );
}

function ungated(constants: readonly number[]): Activation[] {
  const bases = functionsWith(constants);
  return limitsAmong(constants).flatMap((limit) => bases.map((base) => ({ ...base, limit })));
}

function gated(constants: readonly number[]): Activation[] {
  const offsets = [0, ...constants.filter((each) => each !== 0)];
  return ungated(constants).flatMap((base) => offsets.map((upOffset) => ({ ...base, upOffset })));
}

function functionsWith(constants: readonly number[]): Activation[] {
  const plain = ['gelu', 'gelu-tanh', 'relu', 'relu2', 'identity'] as const;
  const alphas = new Set([1, ...constants.filter((each) => each > 0)]);
  return [
    ...plain.map((name) => ({ name, alpha: 1, limit: null, upOffset: 0 })),
    ...(['silu', 'capped-silu'] as const).flatMap((name) =>
      [...alphas].map((alpha) => ({ name, alpha, limit: null, upOffset: 0 })),
    ),
  ];
}

function limitsAmong(constants: readonly number[]): (number | null)[] {
  return [null, ...constants.filter((each) => each > 0)];
}

/** Operators all of whose inputs are numbers, not places or sizes. */
const counting = new Set([...elementwiseOps, 'Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual']);

/** The distinct scalars an expression uses, worked out from others or not, attributes included; are some half floats? */
function constantsBetween(
  value: Value,
  leaves: ReadonlySet<Value>,
): { constants: number[]; isHalf: boolean } {
  const numbers = new Set<number>();
  const pending = [value];
  const seen = new Set<Value>();
  for (let each = pending.pop(); each && seen.size < 256; each = pending.pop()) {
    if (seen.has(each) || leaves.has(each)) continue;
    seen.add(each);
    const node = each.producer;
    for (const number of [evaluate(each, new Map()), ...attributesOf(node)])
      if (number !== null && Math.abs(number) < 1e6) numbers.add(number);
    const inputs = node && counting.has(node.opType) ? node.inputs : (node?.inputs.slice(0, 1) ?? []);
    inputs.forEach((input) => input && pending.push(input));
  }
  const isHalf = [...seen].some((each) => tensorOf(each)?.source.dtype === 'float16');
  return { constants: [...numbers], isHalf };
}

function attributesOf(node: Node | null): number[] {
  const named = ['alpha', 'min', 'max'].flatMap((name) => node?.float(name) ?? []);
  return node?.opType === 'QuickGelu' ? [...named, node.float('alpha') ?? 1.702] : named;
}
