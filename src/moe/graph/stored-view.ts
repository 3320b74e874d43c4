import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { TensorSource } from '../../tensor/source.ts';
import type { MatrixView } from '../../tensor/view.ts';
import { computedRoot } from './computed-root.ts';
import { tensorOf } from './constant.ts';
import type { Shapes } from './shapes.ts';
import { viewSteps } from './view-steps.ts';

/** One axis of a stored view. `stride` is null for an axis that comes from an index chosen at run time. */
export interface Axis {
  size: number | null;
  stride: number | null;
}

/** What a value shows of one stored tensor: an offset and one stride per axis, in elements. */
export interface StoredView {
  /** The initializer (or the output of a Constant) that holds the tensor. */
  root: Value;
  name: string;
  source: TensorSource;
  axes: Axis[];
  offset: number;
  /** The axis of the tensor that `index` picks from at run time, e.g. the experts of a gathered stack. */
  selector: { index: Value; size: number; stride: number } | null;
  /** What stands in the file: the numbers themselves, codes of them, or others that the graph computes them from. */
  numbers: 'plain' | 'quantized' | 'computed';
}

/**
 * Follows a value back to the stored tensor it is a view of: through transposes, reshapes, slices, constant and run-time
 * gathers. Null when something else lies between.
 */
export function storedView(value: Value | null | undefined, shapes: Shapes): StoredView | null {
  return viewOf(value, shapes, plainRoot);
}

/** The same for the weight of a linear, which the graph may also compute, e.g. columns divided by their lengths. */
export function weightView(value: Value | null | undefined, shapes: Shapes): StoredView | null {
  return viewOf(value, shapes, (root) => plainRoot(root) ?? computed(root, shapes));
}

type Root = Pick<StoredView, 'source' | 'numbers'> & { shape: readonly number[] };

function plainRoot(value: Value): Root | null {
  const source = tensorOf(value)?.source;
  return source ? { source, shape: source.shape, numbers: 'plain' } : null;
}

function computed(value: Value, shapes: Shapes): Root | null {
  const found = computedRoot(value, shapes);
  return found && { source: found.tensor.source, shape: found.shape, numbers: 'computed' };
}

function viewOf(
  value: Value | null | undefined,
  shapes: Shapes,
  rootOf: (value: Value) => Root | null,
): StoredView | null {
  const chain: { node: Node; value: Value }[] = [];
  let root = value ?? null;
  while (root && !tensorOf(root)) {
    const node: Node | null = root.producer;
    if (!node || !Object.hasOwn(viewSteps, node.opType) || chain.length > 16) break;
    chain.push({ node, value: root });
    root = node.inputs[0] ?? null;
  }
  const stored = root && rootOf(root);
  if (!root || !stored) return null;
  const { shape, ...rest } = stored;
  let view: StoredView | null = {
    root,
    name: root.name,
    axes: contiguous(shape),
    offset: 0,
    selector: null,
    ...rest,
  };
  for (const step of chain.toReversed())
    view = view && viewSteps[step.node.opType](view, step.node, shapes, step.value);
  return view;
}

/** The matrix that two axes of a view span at `offset` elements from its start. */
export function matrixOf(view: StoredView, rowAxis: number, colAxis: number, offset = 0): MatrixView {
  const [row, col] = [view.axes[rowAxis], view.axes[colAxis]];
  return {
    source: view.source,
    rows: row.size!,
    cols: col.size!,
    offset: view.offset + offset,
    rowStride: row.stride!,
    colStride: col.stride!,
  };
}

function contiguous(shape: readonly number[]): Axis[] {
  let stride = 1;
  return shape
    .toReversed()
    .map((size) => {
      const axis = { size, stride };
      stride *= size;
      return axis;
    })
    .toReversed();
}

/** Why the numbers of experts' weights cannot be read as they stand in the file; null if they can. */
export function numbersProblem(views: readonly Pick<StoredView, 'numbers'>[]): string | null {
  if (views.some(({ numbers }) => numbers === 'quantized')) return 'its experts are quantized already';
  return views.some(({ numbers }) => numbers === 'computed')
    ? 'the graph computes the weights of its experts: fold the constants first'
    : null;
}
