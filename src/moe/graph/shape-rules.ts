import type { Node } from '../../onnx/node.ts';
import { axesOf, positiveAxis } from './axes.ts';
import { numbersOf } from './constant.ts';
import { cutsOf } from './cuts.ts';
import type { Dims } from './dims.ts';
import { add, countOf, multiply, shapeSlice } from './dims.ts';
import { equationOf } from './einsum.ts';
import type { Shapes } from './shapes.ts';
import { topKCount } from './top-k-count.ts';

const broadcasting = new Set(
  'Add Sub Mul Div Pow Mod Max Min Sum Mean Where Equal Less Greater LessOrEqual GreaterOrEqual And Or Xor PRelu'.split(
    ' ',
  ),
);
const sameShape = new Set(
  `Identity Cast CastLike Dropout Relu Sigmoid Tanh Gelu FastGelu QuickGelu BiasGelu Erf Exp Log Neg Abs Sqrt Reciprocal
  Floor Ceil Round Sign Softmax LogSoftmax Clip Not LeakyRelu Elu Selu Celu Softplus Softsign HardSwish HardSigmoid Mish
  Swish Silu CumSum ScatterElements ScatterND LayerNormalization SimplifiedLayerNormalization RMSNormalization
  SkipSimplifiedLayerNormalization SkipLayerNormalization QuantizeLinear DequantizeLinear MoE QMoE IsNaN`.split(
    /\s+/,
  ),
);

/** Shapes of a node's outputs; null where no rule knows them. */
export function outputShapes(node: Node, facts: Shapes): (Dims | null)[] | null {
  const shape = (index: number): Dims | null => facts.shapeOf(node.inputs[index]);
  const { opType } = node;
  if (sameShape.has(opType)) return node.outputs.map(() => shape(0));
  if (broadcasting.has(opType)) {
    const all = node.inputs.map((_, index) => shape(index));
    return [all.every((dims) => dims !== null) ? all.reduce(broadcast) : null];
  }
  return Object.hasOwn(rules, opType) ? rules[opType](node, facts) : null;
}

/** The shape of an elementwise operation. An unknown dimension beside a known one above 1 must be equal to it. */
export function broadcast(left: Dims, right: Dims): Dims {
  const rank = Math.max(left.length, right.length);
  return Array.from({ length: rank }, (_, index) => {
    const a = left.at(index - rank) ?? (index < rank - left.length ? 1 : null);
    const b = right.at(index - rank) ?? (index < rank - right.length ? 1 : null);
    if (a === 1) return b;
    if (b === 1) return a;
    return a ?? b;
  });
}

type Rule = (node: Node, facts: Shapes) => (Dims | null)[] | null;

const rules: Record<string, Rule> = {
  MatMul: matMulShape,
  FusedMatMul: matMulShape,
  Gemm: gemmShape,
  FusedGemm: gemmShape,
  MatMulNBits: (node, facts) => {
    const a = facts.shapeOf(node.inputs[0]);
    return a && [[...a.slice(0, -1), node.int('N') ?? null]];
  },
  Reshape: (node, facts) => [reshape(facts.shapeOf(node.inputs[0]), facts.integersOf(node.inputs[1]), node)],
  Flatten: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    if (!x) return [[null, null]];
    const axis = positiveAxis(node.int('axis') ?? 1, x.length);
    return [[countOf(x.slice(0, axis)), countOf(x.slice(axis))]];
  },
  GlobalAveragePool: pooledShape,
  GlobalMaxPool: pooledShape,
  Transpose: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    return (
      x && [(node.ints('perm') ?? x.map((_, index) => x.length - 1 - index)).map((axis) => x[axis] ?? null)]
    );
  },
  Unsqueeze: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    const axes = axesOf(node);
    if (!x || !axes) return null;
    const rank = x.length + axes.length;
    const added = new Set(axes.map((axis) => positiveAxis(axis, rank)));
    const rest = [...x];
    return [Array.from({ length: rank }, (_, index) => (added.has(index) ? 1 : rest.shift()!))];
  },
  Squeeze: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    const axes = axesOf(node)?.map((axis) => positiveAxis(axis, x?.length ?? 0));
    if (!x || (!axes && x.includes(null))) return null;
    return [x.filter((dim, index) => (axes ? !axes.includes(index) : dim !== 1))];
  },
  Concat: (node, facts) => {
    const all = node.inputs.map((value) => facts.shapeOf(value));
    if (all.includes(null)) return null;
    const shapes = all as Dims[];
    const axis = positiveAxis(node.int('axis') ?? 0, shapes[0].length);
    const total = shapes.reduce<number | null>((sum, dims) => add(sum, dims[axis] ?? null), 0);
    return [
      shapes[0].map((dim, index) =>
        index === axis ? total : (shapes.find((s) => s[index] !== null)?.[index] ?? dim),
      ),
    ];
  },
  Split: cutShapes,
  Slice: cutShapes,
  Gather: (node, facts) => {
    const data = facts.shapeOf(node.inputs[0]);
    const index = facts.shapeOf(node.inputs[1]);
    if (!data || !index) return null;
    const axis = positiveAxis(node.int('axis') ?? 0, data.length);
    return [[...data.slice(0, axis), ...index, ...data.slice(axis + 1)]];
  },
  GatherND: (node, facts) => {
    const data = facts.shapeOf(node.inputs[0]);
    const index = facts.shapeOf(node.inputs[1]);
    const depth = index?.at(-1) ?? null;
    if (!data || !index || depth === null) return null;
    return [[...index.slice(0, -1), ...data.slice((node.int('batch_dims') ?? 0) + depth)]];
  },
  GatherElements: (node, facts) => [facts.shapeOf(node.inputs[1])],
  Expand: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    const target = facts.integersOf(node.inputs[1]);
    return x && target ? [broadcast(x, target)] : null;
  },
  Tile: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    const repeats = facts.integersOf(node.inputs[1]);
    return x && repeats ? [x.map((dim, index) => multiply(dim, repeats[index] ?? null))] : null;
  },
  TopK: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    if (!x) return null;
    const axis = positiveAxis(node.int('axis') ?? -1, x.length);
    const k = topKCount(node, facts);
    const shape = x.map((dim, index) => (index === axis ? k : dim));
    return [shape, shape];
  },
  OneHot: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    const depth = numbersOf(node.inputs[1])?.[0] ?? null;
    if (!x) return null;
    const axis = positiveAxis(node.int('axis') ?? -1, x.length + 1);
    return [x.toSpliced(axis, 0, depth)];
  },
  NonZero: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    return [[x ? x.length : null, null]];
  },
  ConstantOfShape: (node, facts) => [facts.integersOf(node.inputs[0])],
  Shape: (node, facts) => {
    const x = facts.shapeOf(node.inputs[0]);
    return x && [[shapeSlice(node, x).length]];
  },
  Range: () => [[null]],
  Conv: convShape,
  FusedConv: convShape,
  Einsum: einsumShape,
};
for (const name of ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'L1', 'L2', 'SumSquare', 'LogSumExp'])
  rules[`Reduce${name}`] = reduceShape;
rules.ArgMax = argShape;
rules.ArgMin = argShape;

/** Sizes of the image are kept only where a 1 × 1 kernel cannot change them. */
function convShape(node: Node, facts: Shapes): (Dims | null)[] | null {
  const x = facts.shapeOf(node.inputs[0]);
  const weight = facts.shapeOf(node.inputs[1]);
  if (!x || !weight) return null;
  const isPointwise =
    weight.slice(2).every((dim) => dim === 1) &&
    !node.ints('strides')?.some((stride) => stride !== 1) &&
    !node.ints('pads')?.some(Boolean);
  return [[x[0], weight[0], ...x.slice(2).map((dim) => (isPointwise ? dim : null))]];
}

function pooledShape(node: Node, facts: Shapes): (Dims | null)[] | null {
  return [facts.shapeOf(node.inputs[0])?.map((dim, index) => (index < 2 ? dim : 1)) ?? null];
}

function matMulShape(node: Node, facts: Shapes): (Dims | null)[] | null {
  const a = transposed(facts.shapeOf(node.inputs[0]), node.int('transA'));
  const b = transposed(facts.shapeOf(node.inputs[1]), node.int('transB'));
  if (!a || !b || a.length < 2 || b.length < 2) return null;
  const [left, right] = [a.at(-1)!, b.at(-2)!];
  if (left !== null && right !== null && left !== right) return null;
  return [[...broadcast(a.slice(0, -2), b.slice(0, -2)), a.at(-2)!, b.at(-1)!]];
}

function gemmShape(node: Node, facts: Shapes): (Dims | null)[] | null {
  const a = transposed(facts.shapeOf(node.inputs[0]), node.int('transA'));
  const b = transposed(facts.shapeOf(node.inputs[1]), node.int('transB'));
  return [[a?.[0] ?? null, b?.[1] ?? null]];
}

function transposed(dims: Dims | null, flag: number | undefined): Dims | null {
  return dims && flag ? [...dims.slice(0, -2), dims.at(-1)!, dims.at(-2)!] : dims;
}

/** A target of Reshape with 0 copied and -1 worked out where everything else is known. */
function reshape(x: Dims | null, target: Dims | null, node: Node): Dims | null {
  if (!target) return null;
  const copied = target.map((dim, index) =>
    dim === 0 && !node.int('allowzero') ? (x?.[index] ?? null) : dim,
  );
  const free = copied.findIndex((dim) => dim === -1);
  if (free < 0) return copied;
  const others = copied.toSpliced(free, 1);
  if (!x || x.includes(null) || others.includes(null)) return copied.with(free, null);
  return copied.with(free, countOf(x)! / countOf(others)!);
}

function cutShapes(node: Node, facts: Shapes): (Dims | null)[] | null {
  const x = facts.shapeOf(node.inputs[0]);
  if (!x) return null;
  return node.outputs.map((output) => {
    const cuts = output && cutsOf(output, x, facts);
    return x.map((dim, axis) => {
      const cut = cuts?.find((each) => each.axis === axis);
      return cut ? cut.length : cuts && dim;
    });
  });
}

function reduceShape(node: Node, facts: Shapes): (Dims | null)[] | null {
  const x = facts.shapeOf(node.inputs[0]);
  if (!x) return null;
  const axes = axesOf(node);
  if (!axes && node.inputs[1]) return null;
  const reduced = new Set((axes ?? x.map((_, index) => index)).map((axis) => positiveAxis(axis, x.length)));
  const keep = node.int('keepdims') ?? 1;
  return [x.flatMap((dim, index) => (reduced.has(index) ? (keep ? [1] : []) : [dim]))];
}

function argShape(node: Node, facts: Shapes): (Dims | null)[] | null {
  const x = facts.shapeOf(node.inputs[0]);
  if (!x) return null;
  const axis = positiveAxis(node.int('axis') ?? 0, x.length);
  if (!(axis in x)) return null;
  return [(node.int('keepdims') ?? 1) ? x.with(axis, 1) : x.toSpliced(axis, 1)];
}

function einsumShape(node: Node, facts: Shapes): (Dims | null)[] | null {
  const equation = equationOf(node);
  if (!equation) return null;
  const size = new Map<string, number | null>();
  equation.operands.forEach((labels, operand) => {
    const dims = facts.shapeOf(node.inputs[operand]);
    labels.forEach((label, index) => size.set(label, size.get(label) ?? dims?.[index] ?? null));
  });
  return [equation.output.map((label) => size.get(label) ?? null)];
}
