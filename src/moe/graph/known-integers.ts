import type { Node } from '../../onnx/node.ts';
import type { Tensor } from '../../onnx/tensor.ts';
import { numbersOf } from './constant.ts';
import { cutsOf } from './cuts.ts';
import type { Dims } from './dims.ts';
import { add, multiply, shapeSlice } from './dims.ts';
import type { Shapes } from './shapes.ts';

/** The integers a node gives, where its operator only moves or counts them. */
export function outputIntegers(node: Node, facts: Shapes): Dims | null {
  const integers = (index: number): Dims | null => facts.integersOf(node.inputs[index]);
  switch (node.opType) {
    case 'Shape': {
      const dims = facts.shapeOf(node.inputs[0]);
      return dims && shapeSlice(node, dims);
    }
    case 'Identity':
    case 'Cast':
    case 'Unsqueeze':
    case 'Squeeze':
    case 'Reshape':
      return integers(0);
    case 'Concat': {
      const parts = node.inputs.map((_, index) => integers(index));
      return parts.includes(null) ? unknownParts(node, facts) : (parts as Dims[]).flat();
    }
    case 'Gather': {
      const data = integers(0);
      const index = numbersOf(node.inputs[1]);
      return data && index ? index.map((at) => data.at(at) ?? null) : null;
    }
    case 'Slice':
      return slicedIntegers(node, facts);
    case 'ConstantOfShape': {
      const length = integers(0);
      const fill = node.tensors.get('value');
      const size = length?.length === 1 ? length[0] : null;
      return size === null || !isLength(size)
        ? null
        : Array<number | null>(size).fill(fill ? readInteger(fill) : 0);
    }
    case 'Where': {
      const [condition, left, right] = [integers(0), integers(1), integers(2)];
      if (!condition || !left || !right || left.length !== right.length || condition.length !== left.length)
        return null;
      return condition.map((each, at) =>
        each === null ? (left[at] === right[at] ? left[at] : null) : each ? left[at] : right[at],
      );
    }
    case 'Equal':
      return zip(integers(0), integers(1), (a, b) => (a === null || b === null ? null : Number(a === b)));
    case 'Not':
      return integers(0)?.map((each) => (each === null ? null : Number(!each))) ?? null;
    case 'Add':
      return zip(integers(0), integers(1), add);
    case 'Mul':
      return zip(integers(0), integers(1), multiply);
    case 'Sub':
      return zip(integers(0), integers(1), (a, b) => add(a, b === null ? null : -b));
    case 'Div':
      return zip(integers(0), integers(1), (a, b) => (a === null || !b ? null : Math.trunc(a / b)));
    default:
      return null;
  }
}

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

/** Concat of shape parts of which some are unknown vectors of known length. */
function unknownParts(node: Node, facts: Shapes): Dims | null {
  const parts = node.inputs.map((value) => {
    const known = facts.integersOf(value);
    if (known) return known;
    const shape = facts.shapeOf(value);
    return shape?.length === 1 && shape[0] !== null && isLength(shape[0])
      ? Array<null>(shape[0]).fill(null)
      : null;
  });
  return parts.includes(null) ? null : (parts as Dims[]).flat();
}

function slicedIntegers(node: Node, facts: Shapes): Dims | null {
  const data = facts.integersOf(node.inputs[0]);
  const [cut] = (data && cutsOf(node.outputs[0]!, [data.length], facts)) ?? [];
  if (!data || !cut || cut.start === null || cut.length === null || cut.step !== 1) return null;
  return data.slice(cut.start, cut.start + cut.length);
}

function zip(
  left: Dims | null,
  right: Dims | null,
  combine: (a: number | null, b: number | null) => number | null,
): Dims | null {
  if (!left || !right) return null;
  const length = Math.max(left.length, right.length);
  if (![1, length].includes(left.length) || ![1, length].includes(right.length)) return null;
  return Array.from({ length }, (_, index) =>
    combine(left[left.length === 1 ? 0 : index], right[right.length === 1 ? 0 : index]),
  );
}
