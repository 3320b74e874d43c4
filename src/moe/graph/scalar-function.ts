import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { scalarOf } from './constant.ts';
import { layoutOps } from './operators.ts';

/** Evaluates the elementwise function that a graph computes between `leaves` and `value` for one number per leaf. */
export function evaluate(value: Value, leaves: ReadonlyMap<Value, number>): number | null {
  const known = new Map<Value, number | null>(leaves);
  const visit = (each: Value | null | undefined, depth: number): number | null => {
    if (!each || depth > 64) return null;
    const cached = known.get(each);
    if (cached !== undefined) return cached;
    const node = each.producer;
    const result =
      scalarOf(each) ?? (node && applyOperator(node, (index) => visit(node.inputs[index], depth + 1)));
    known.set(each, result);
    return result;
  };
  return visit(value, 0);
}

/** What is read of a node, so that what is no node can be applied too. */
type Operator = Pick<Node, 'opType' | 'int' | 'float' | 'string'> & { inputs: readonly unknown[] };
type Input = (index: number) => number | null;
type Operation = (x: number, node: Operator, input: Input) => number | null;

/** What an operator gives for the numbers that it is given; null for one that is not known here. */
export function applyOperator(node: Operator, input: Input): number | null {
  const known = Object.hasOwn(operations, node.opType) ? operations[node.opType] : undefined;
  const operation = layoutOps.has(node.opType) ? same : known;
  const x = input(0);
  return operation === undefined || x === null ? null : operation(x, node, input);
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const [seluAlpha, seluGamma] = [1.6732632423543772, 1.0507009873554805];

const both =
  (operation: (x: number, y: number) => number): Operation =>
  (x, _node, input) => {
    const y = input(1);
    return y === null ? null : operation(x, y);
  };
const all =
  (operation: (x: number, y: number) => number): Operation =>
  (x, node, input) => {
    const rest = node.inputs.slice(1).map((_, index) => input(index + 1));
    return rest.includes(null) ? null : (rest as number[]).reduce((total, each) => operation(total, each), x);
  };

/** Selections keep the numbers they let through. */
const same: Operation = (x) => x;

const operations: Record<string, Operation> = {
  Slice: same,
  Split: same,
  Gather: same,
  GatherND: same,
  Add: both((x, y) => x + y),
  Sub: both((x, y) => x - y),
  Mul: both((x, y) => x * y),
  Div: both((x, y) => x / y),
  Mod: (x, node, input) => {
    const y = input(1);
    return y === null ? null : node.int('fmod') ? x % y : x - y * Math.floor(x / y);
  },
  Pow: both((x, y) => x ** y),
  Max: all(Math.max),
  Min: all(Math.min),
  Sum: all((x, y) => x + y),
  Equal: both((x, y) => Number(x === y)),
  Greater: both((x, y) => Number(x > y)),
  GreaterOrEqual: both((x, y) => Number(x >= y)),
  Less: both((x, y) => Number(x < y)),
  LessOrEqual: both((x, y) => Number(x <= y)),
  And: both((x, y) => x && y),
  Or: both((x, y) => x || y),
  Not: (x) => Number(!x),
  Where: (x, _node, input) => input(x ? 1 : 2),
  Neg: (x) => -x,
  Abs: (x) => Math.abs(x),
  Sign: (x) => Math.sign(x),
  Floor: (x) => Math.floor(x),
  Sqrt: (x) => Math.sqrt(x),
  Reciprocal: (x) => 1 / x,
  Exp: (x) => Math.exp(x),
  Log: (x) => Math.log(x),
  Erf: (x) => erf(x),
  Tanh: (x) => Math.tanh(x),
  Sigmoid: (x) => sigmoid(x),
  Softplus: (x) => softplus(x),
  Softsign: (x) => x / (1 + Math.abs(x)),
  Mish: (x) => x * Math.tanh(softplus(x)),
  Relu: (x) => Math.max(x, 0),
  LeakyRelu: (x, node) => (x < 0 ? x * (node.float('alpha') ?? 0.01) : x),
  PRelu: both((x, slope) => (x < 0 ? x * slope : x)),
  ThresholdedRelu: (x, node) => (x > (node.float('alpha') ?? 1) ? x : 0),
  Elu: (x, node) => (x < 0 ? (node.float('alpha') ?? 1) * Math.expm1(x) : x),
  Selu: (x, node) =>
    (node.float('gamma') ?? seluGamma) * (x < 0 ? (node.float('alpha') ?? seluAlpha) * Math.expm1(x) : x),
  Celu: (x, node) => {
    const alpha = node.float('alpha') ?? 1;
    return x < 0 ? alpha * Math.expm1(x / alpha) : x;
  },
  HardSigmoid: (x, node) =>
    Math.min(1, Math.max(0, (node.float('alpha') ?? 0.2) * x + (node.float('beta') ?? 0.5))),
  HardSwish: (x) => x * Math.min(1, Math.max(0, x / 6 + 0.5)),
  Swish: (x, node) => x * sigmoid((node.float('alpha') ?? 1) * x),
  Silu: (x) => x * sigmoid(x),
  QuickGelu: (x, node) => x * sigmoid((node.float('alpha') ?? 1.702) * x),
  Gelu: (x, node) => (node.string('approximate') === 'tanh' ? geluTanh(x) : gelu(x)),
  BiasGelu: (x) => gelu(x),
  FastGelu: (x) => geluTanh(x),
  Clip: (x, node, input) => {
    const low = node.float('min') ?? (node.inputs[1] == null ? -Infinity : input(1));
    const high = node.float('max') ?? (node.inputs[2] == null ? Infinity : input(2));
    return low === null || high === null ? null : Math.min(high, Math.max(low, x));
  },
};

export function gelu(x: number): number {
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

/** Its approximation by tanh. */
export function geluTanh(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/** Error function by its Taylor series and, further out, its continued fraction; good to about 1e-12. */
function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= -(z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / ((z + fraction) * Math.sqrt(Math.PI)));
}
