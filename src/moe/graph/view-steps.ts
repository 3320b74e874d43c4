import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { isFloatCode } from '../../tensor/dtype.ts';
import { axesOf, positiveAxis } from './axes.ts';
import { numbersOf, tensorOf } from './constant.ts';
import type { Cut } from './cuts.ts';
import { cutsOf } from './cuts.ts';
import type { Shapes } from './shapes.ts';
import type { Axis, StoredView } from './stored-view.ts';

/** The view behind a node, of the value given; null where it is no view any more. */
type Step = (view: StoredView, node: Node, shapes: Shapes, value: Value) => StoredView | null;

const keep: Step = (view) => view;

/** What each operator does to a view without moving data. */
export const viewSteps: Record<string, Step> = {
  Identity: keep,
  Dropout: keep,
  Cast: (view, node) => (isFloatCode(node.int('to')) ? view : null),
  CastLike: keep,
  DequantizeLinear: (view) => ({ ...view, numbers: 'quantized' }),
  Transpose: (view, node) => {
    const order = node.ints('perm') ?? view.axes.map((_, index) => view.axes.length - 1 - index);
    const axes = order.map((axis) => view.axes[axis]);
    return axes.length === view.axes.length && axes.every(Boolean) ? { ...view, axes } : null;
  },
  Unsqueeze: (view, node) => {
    const given = axesOf(node);
    if (!given) return null;
    const rank = view.axes.length + given.length;
    const added = new Set(given.map((axis) => positiveAxis(axis, rank)));
    const rest = [...view.axes];
    const axes = Array.from({ length: rank }, (_, index) =>
      added.has(index) ? { size: 1, stride: 0 } : rest.shift()!,
    );
    return { ...view, axes };
  },
  Squeeze: (view, node) => {
    const given = axesOf(node)?.map((axis) => positiveAxis(axis, view.axes.length));
    return {
      ...view,
      axes: view.axes.filter((axis, index) => (given ? !given.includes(index) : axis.size !== 1)),
    };
  },
  Reshape: (view, node, shapes) =>
    reshapeView(view, shapes.integersOf(node.inputs[1]), !node.int('allowzero')),
  Flatten: (view, node) => {
    const at = positiveAxis(node.int('axis') ?? 1, view.axes.length);
    return reshapeView(view, [countAxes(view.axes.slice(0, at)), countAxes(view.axes.slice(at))], false);
  },
  Expand: (view, node, shapes) => {
    const target = shapes.integersOf(node.inputs[1]);
    if (!target || target.length < view.axes.length) return null;
    const missing = target.length - view.axes.length;
    const axes = target.map((size, index): Axis => {
      const axis = index < missing ? { size: 1, stride: 0 } : view.axes[index - missing];
      return axis.size === 1 && size !== 1 ? { size, stride: 0 } : axis;
    });
    return { ...view, axes };
  },
  Slice: cutView,
  Split: cutView,
  Gather: gatherView,
  GatherND: gatherNDView,
};

/** Number of elements that some axes span; null when one of them is unknown. */
function countAxes(axes: readonly Axis[]): number | null {
  return axes.reduce<number | null>(
    (total, { size }) => (total === null || size === null ? null : total * size),
    1,
  );
}

function cutView(view: StoredView, _node: Node, shapes: Shapes, value: Value): StoredView | null {
  const dims = view.axes.map(({ size }) => size);
  const cuts = cutsOf(value, dims, shapes);
  return cuts && cuts.reduce<StoredView | null>((part, cut) => part && cutAxis(part, cut), view);
}

function cutAxis(view: StoredView, { axis, size, start, length, step }: Cut): StoredView | null {
  const stride = view.axes[axis]?.stride ?? null;
  if (size === null || stride === null || start === null || length === null || step === null) return null;
  const part = { size: length, stride: stride * step };
  return { ...view, offset: view.offset + start * stride, axes: view.axes.with(axis, part) };
}

function gatherView(view: StoredView, node: Node, shapes: Shapes): StoredView | null {
  const axis = positiveAxis(node.int('axis') ?? 0, view.axes.length);
  const { size, stride } = view.axes[axis] ?? {};
  if (size == null || stride == null) return null;
  const index = node.inputs[1]!;
  const constant = numbersOf(index);
  const rank = shapes.shapeOf(index)?.length;
  if (constant) return gatherConstant(view, axis, constant, rank ?? 0);
  if (rank === undefined || view.selector || tensorOf(index)) return null;
  const chosen = shapes.shapeOf(index)!.map((each) => ({ size: each, stride: null }));
  return { ...view, axes: view.axes.toSpliced(axis, 1, ...chosen), selector: { index, size, stride } };
}

function gatherConstant(view: StoredView, axis: number, index: number[], rank: number): StoredView | null {
  const size = view.axes[axis].size!;
  const [first, second = first + 1] = index;
  const step = second - first;
  const even = index.every((each, at) => each === first + at * step);
  const start = first < 0 ? first + size : first;
  const last = start + (index.length - 1) * step;
  if (rank > 1 || !even || !(step > 0) || start < 0 || last >= size) return null;
  const part = cutAxis(view, { axis, size, start, length: index.length, step });
  return part && rank === 0 ? { ...part, axes: part.axes.toSpliced(axis, 1) } : part;
}

function gatherNDView(view: StoredView, node: Node, shapes: Shapes): StoredView | null {
  const index = node.inputs[1]!;
  const shape = shapes.shapeOf(index);
  const [first, ...rest] = view.axes;
  if ((node.int('batch_dims') ?? 0) > 0 || shape?.at(-1) !== 1 || view.selector) return null;
  if (first.size === null || first.stride === null || tensorOf(index)) return null;
  const chosen = shape.slice(0, -1).map((size) => ({ size, stride: null }));
  return { ...view, axes: [...chosen, ...rest], selector: { index, size: first.size, stride: first.stride } };
}

/** Splits and merges axes without moving data, as far as their strides allow. */
function reshapeView(
  view: StoredView,
  target: readonly (number | null)[] | null,
  zeroCopies: boolean,
): StoredView | null {
  if (!target || view.axes.some(({ size, stride }) => size === null || stride === null)) return null;
  const total = view.axes.reduce((product, { size }) => product * size!, 1);
  const copied = target.map((dim, index) => (dim === 0 && zeroCopies ? view.axes[index].size : dim));
  if (copied.includes(null)) return null;
  const known = copied.reduce<number>((product, dim) => (dim === -1 ? product : product * dim!), 1);
  const sizes = copied.map((dim) => (dim === -1 ? total / known : dim!));
  const merged = mergeAxes(view.axes);
  const axes: Axis[] = [];
  let source = merged.pop();
  let left = source?.size ?? 1;
  for (const size of sizes.toReversed()) {
    if (size === 1) {
      axes.unshift({ size: 1, stride: 0 });
      continue;
    }
    if (left === 1) {
      source = merged.pop();
      left = source?.size ?? 1;
    }
    if (!source || left % size !== 0) return null;
    axes.unshift({ size, stride: source.stride! * (source.size! / left) });
    left /= size;
  }
  return left === 1 && merged.length === 0 ? { ...view, axes } : null;
}

/** Joins neighbouring axes that lie one after another in memory, and drops those of size 1. */
function mergeAxes(axes: readonly Axis[]): Axis[] {
  const merged: Axis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const last = merged.at(-1);
    if (last && last.stride === axis.size! * axis.stride!) {
      merged[merged.length - 1] = { size: last.size! * axis.size!, stride: axis.stride };
    } else merged.push(axis);
  }
  return merged;
}
