import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { positiveAxis } from './axes.ts';
import type { Dims } from './dims.ts';
import { add } from './dims.ts';
import type { Shapes } from './shapes.ts';

/** What is taken of one axis of `size`: `length` elements, each `step`th from `start` on. Null for what is not known. */
export interface Cut {
  axis: number;
  size: number | null;
  start: number | null;
  length: number | null;
  step: number | null;
}

/** How a Slice or Split cuts `value` out of a tensor of shape `dims`; null where not even the axes are known. */
export function cutsOf(value: Value, dims: Dims, shapes: Shapes): Cut[] | null {
  const node = value.producer;
  if (node?.opType === 'Slice') return sliceCuts(node, dims, shapes);
  return node?.opType === 'Split' ? [splitCut(node, node.outputs.indexOf(value), dims, shapes)] : null;
}

/** The cut of a value that a Slice or Split cuts along one axis alone; null for any other. */
export function onlyCut(value: Value, shapes: Shapes): Cut | null {
  const dims = shapes.shapeOf(value.producer?.inputs[0]);
  const cuts = dims && cutsOf(value, dims, shapes);
  return cuts?.length === 1 ? cuts[0] : null;
}

/** Bounds and axes are attributes up to opset 9, inputs since then. */
function sliceCuts(node: Node, dims: Dims, shapes: Shapes): Cut[] | null {
  const starts = node.ints('starts') ?? shapes.integersOf(node.inputs[1]);
  const ends = node.ints('ends') ?? shapes.integersOf(node.inputs[2]);
  const given = node.ints('axes') ?? shapes.integersOf(node.inputs[3]);
  const axes = given ?? (node.inputs[3] ? null : starts?.map((_, at) => at));
  if (!starts || !ends || !axes || axes.includes(null)) return null;
  const steps = node.inputs[4] ? shapes.integersOf(node.inputs[4]) : axes.map(() => 1);
  return axes.map((each, at) => {
    const axis = positiveAxis(each!, dims.length);
    const size = dims[axis] ?? null;
    return { axis, size, ...taken(size, starts[at] ?? null, ends[at] ?? null, steps?.[at] ?? null) };
  });
}

const unknown = { start: null, length: null, step: null };

/** Bounds may count from the end, or lie beyond it. */
function taken(
  size: number | null,
  start: number | null,
  end: number | null,
  step: number | null,
): Pick<Cut, 'start' | 'length' | 'step'> {
  if (end === null && start === 0 && step === 1) return { start, length: null, step };
  if (start === null || end === null || step === null || step <= 0) return unknown;
  if (size === null) {
    // The axis is taken to reach as far as it is read.
    const isPlain = start >= 0 && end >= start && end < 1e9 && step === 1;
    return isPlain ? { start, length: end - start, step } : unknown;
  }
  const [from, to] = [start, end].map((at) => Math.min(Math.max(at < 0 ? at + size : at, 0), size));
  return { start: from, length: Math.max(0, Math.ceil((to - from) / step)), step };
}

function splitCut(node: Node, part: number, dims: Dims, shapes: Shapes): Cut {
  const axis = positiveAxis(node.int('axis') ?? 0, dims.length);
  const size = dims[axis] ?? null;
  const sizes = splitSizes(node, size, shapes);
  return { axis, size, start: sizes.slice(0, part).reduce(add, 0), length: sizes[part] ?? null, step: 1 };
}

/** Sizes of all parts. Where the node gives none they are equal, but for the last one, which holds what is left. */
function splitSizes(node: Node, size: number | null, shapes: Shapes): Dims {
  const given = node.ints('split') ?? shapes.integersOf(node.inputs[1]);
  if (given || node.inputs[1] || size === null) return given ?? node.outputs.map(() => null);
  const even = Math.ceil(size / node.outputs.length);
  return node.outputs.map((_, part) => Math.max(0, Math.min(even, size - part * even)));
}
