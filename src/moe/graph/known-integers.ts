import type { Node } from '../../onnx/node.ts';
import type { Tensor } from '../../onnx/tensor.ts';
import { numbersOf } from './constant.ts';
import { cutsOf } from './cuts.ts';
import type { Dims } from './dims.ts';
import { add, multiply, shapeSlice } from './dims.ts';
import type { Shapes } from './shapes.ts';

/** The integers a node gives, where its operator only moves or counts them. */
export function outputIntegers(node: Node, facts: Shapes): Dims | null {
  return Object.hasOwn(rules, node.opType) ? rules[node.opType](node, facts) : null;
}

type Rule = (node: Node, facts: Shapes) => Dims | null;

/** One integer of two, or of an unknown one. */
type Combine = (a: number | null, b: number | null) => number | null;

const first: Rule = ({ inputs }, facts) => facts.integersOf(inputs[0]);

const elementwise =
  (combine: Combine): Rule =>
  ({ inputs }, facts) =>
    zip(facts.integersOf(inputs[0]), facts.integersOf(inputs[1]), combine);

const rules: Record<string, Rule> = {
  Shape: (node, facts) => {
    const dims = facts.shapeOf(node.inputs[0]);
    return dims && shapeSlice(node, dims);
  },
  Identity: first,
  Cast: first,
  Unsqueeze: first,
  Squeeze: first,
  Reshape: first,
  Concat: joinedIntegers,
  Gather: ({ inputs: [data, index] }, facts) => {
    const integers = facts.integersOf(data);
    const chosen = numbersOf(index);
    return integers && chosen ? chosen.map((at) => integers.at(at) ?? null) : null;
  },
  Slice: slicedIntegers,
  ConstantOfShape: repeatedInteger,
  Where: chosenIntegers,
  Equal: elementwise((a, b) => (a === null || b === null ? null : Number(a === b))),
  Not: (node, facts) => first(node, facts)?.map((each) => (each === null ? null : Number(!each))) ?? null,
  Add: elementwise(add),
  Sub: elementwise((a, b) => add(a, b === null ? null : -b)),
  Mul: elementwise(multiply),
  Div: elementwise((a, b) => (a === null || !b ? null : Math.trunc(a / b))),
};

/** Vectors of shapes and axes are short; longer ones are not followed. */
function isLength(size: number): boolean {
  return Number.isInteger(size) && size >= 0 && size <= 64;
}

/** The one integer that a ConstantOfShape repeats. */
function readInteger({ source }: Tensor): number | null {
  return source.dtype === 'int64'
    ? Number(new DataView(Uint8Array.from(source.read()).buffer).getBigInt64(0, true))
    : null;
}

/** Parts that are laid end to end; unknown ones of known length are so many unknown integers. */
function joinedIntegers({ inputs }: Node, facts: Shapes): Dims | null {
  const parts = inputs.map((value) => {
    const known = facts.integersOf(value);
    if (known) return known;
    const shape = facts.shapeOf(value);
    return shape?.length === 1 && shape[0] !== null && isLength(shape[0])
      ? Array<null>(shape[0]).fill(null)
      : null;
  });
  return parts.includes(null) ? null : (parts as Dims[]).flat();
}

function repeatedInteger(node: Node, facts: Shapes): Dims | null {
  const length = first(node, facts);
  const size = length?.length === 1 ? length[0] : null;
  if (size === null || !isLength(size)) return null;
  const fill = node.tensors.get('value');
  return Array<number | null>(size).fill(fill ? readInteger(fill) : 0);
}

function chosenIntegers({ inputs }: Node, facts: Shapes): Dims | null {
  const [condition, left, right] = inputs.map((value) => facts.integersOf(value));
  if (!condition || !left || !right || left.length !== right.length || condition.length !== left.length)
    return null;
  return condition.map((each, at) =>
    each === null ? (left[at] === right[at] ? left[at] : null) : each ? left[at] : right[at],
  );
}

function slicedIntegers(node: Node, facts: Shapes): Dims | null {
  const data = facts.integersOf(node.inputs[0]);
  const [cut] = (data && cutsOf(node.outputs[0]!, [data.length], facts)) ?? [];
  if (!data || !cut || cut.start === null || cut.length === null || cut.step !== 1) return null;
  return data.slice(cut.start, cut.start + cut.length);
}

function zip(left: Dims | null, right: Dims | null, combine: Combine): Dims | null {
  if (!left || !right) return null;
  const length = Math.max(left.length, right.length);
  if (![1, length].includes(left.length) || ![1, length].includes(right.length)) return null;
  return Array.from({ length }, (_, index) =>
    combine(left[left.length === 1 ? 0 : index], right[right.length === 1 ? 0 : index]),
  );
}
