import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';

const set = (names: string): ReadonlySet<string> => new Set(names.split(/\s+/));

/** Operators that move or relabel elements of their first input and change none of them. */
export const layoutOps = set(
  'Identity Cast CastLike Reshape Flatten Squeeze Unsqueeze Expand Transpose Dropout Tile',
);

/** Operators that keep every element and the order of elements: what they give is another name for their input. */
export const aliasOps = set('Identity Cast CastLike Reshape Flatten Squeeze Unsqueeze Dropout');

/** Operators that work on each element alone. */
export const elementwiseOps = set(
  `Add Sub Mul Div Pow Max Min Where Neg Abs Sqrt Reciprocal Exp Log Erf Tanh Sigmoid Relu LeakyRelu Elu Selu Celu Gelu
  FastGelu QuickGelu BiasGelu Softplus Softsign HardSwish HardSigmoid Mish Swish Silu Clip Sum Mean PRelu ThresholdedRelu`,
);

/** Operators whose output holds no data of their input, only its shape. */
export const shapeOps = set('Shape Size');

/** Inputs that say how to move data and carry none. */
export function isShapeInput(node: Node, index: number): boolean {
  return index > 0 && shapeArguments.has(node.opType);
}

const shapeArguments = set(
  'Reshape Expand Tile Unsqueeze Squeeze ReduceSum ReduceMean ReduceMax ReduceMin CastLike',
);

/** Operators that write rows or elements into a table. */
export function isScatter({ opType }: Node): boolean {
  return opType === 'ScatterND' || opType === 'ScatterElements';
}

/** The value before everything that only renames or reshapes it. */
export function aliasRoot(value: Value): Value {
  return rootBehind(value, aliasOps);
}

/** The value before everything that only renames it or moves its elements. */
export function layoutRoot(value: Value): Value {
  return rootBehind(value, layoutOps);
}

function rootBehind(value: Value, ops: ReadonlySet<string>): Value {
  let root = value;
  while (root.producer && ops.has(root.producer.opType) && root.producer.inputs[0])
    root = root.producer.inputs[0];
  return root;
}

/** A value and everything that only renames, reshapes or retypes it. */
export function aliasesOf(root: Value): Set<Value> {
  const aliases = new Set([root]);
  for (const value of aliases) {
    for (const { node, index } of value.uses) {
      const [output] = node.outputs;
      if (index === 0 && output && aliasOps.has(node.opType)) aliases.add(output);
    }
  }
  return aliases;
}
