import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { MatrixView } from '../../tensor/view.ts';
import type { Linear } from '../moe-layer.ts';
import type { Bias } from './linear-bias.ts';
import { biasAfter, biasAxes, hasBiasInput } from './linear-bias.ts';
import { operandsOf } from './linear-operands.ts';
import type { Shapes } from './shapes.ts';
import type { StoredView } from './stored-view.ts';
import { matrixOf, storedView } from './stored-view.ts';

/** A node that multiplies by a stored weight, with the weight's axes told apart. */
export interface LinearNode {
  node: Node;
  weightInput: number;
  /** What is multiplied. */
  input: Value;
  /** The product, before any bias that a later node adds. */
  product: Value;
  /** The product with its bias. */
  output: Value;
  view: StoredView;
  rowAxis: number;
  colAxis: number;
  /** The axis of the weight that numbers experts, in nodes that compute all of them. */
  stackAxis: number | null;
  bias: Bias | null;
  /** Name of an activation that the node applies to its output by itself (FusedGemm, FusedConv). */
  fused: string | null;
  /** True when the shapes fit only with the weight transposed: the file cannot run. */
  isSwapped: boolean;
  out: number;
  in: number;
}

/** What the record of a linear is made of. */
type StoredLinear = Pick<
  LinearNode,
  'node' | 'weightInput' | 'view' | 'rowAxis' | 'colAxis' | 'stackAxis' | 'bias'
>;

/** Longer stacks than this number something else than experts. */
export const maxStack = 4096;

/** The linear a node computes; null if it is none, or if its weight is not stored in the file. */
export function linearNode(node: Node, shapes: Shapes): LinearNode | null {
  const operands = operandsOf(node, shapes);
  if (!operands) return null;
  const { view, rowAxis, colAxis, weightInput, stackAxis, input, isSwapped = false } = operands;
  const [product] = node.outputs;
  const fused = node.opType.startsWith('Fused') ? (node.string('activation') ?? null) : null;
  const [out, inn] = [view.axes[rowAxis]?.size, view.axes[colAxis]?.size];
  if (!product || !out || !inn || stackSize({ view, stackAxis }) > maxStack) return null;
  const bare = {
    node,
    weightInput,
    input,
    product,
    view,
    rowAxis,
    colAxis,
    stackAxis,
    isSwapped,
    fused,
    out,
    in: inn,
  };
  if (hasBiasInput(node)) {
    const biasView = storedView(node.inputs[2], shapes);
    const bias = biasView && biasAxes(biasView, out, 1, view.selector?.size ?? null);
    return bias && { ...bare, output: product, bias };
  }
  const added = biasAfter(product, out, stackSize(bare), view.selector !== null, shapes);
  return { ...bare, output: added?.output ?? product, bias: added?.bias ?? null };
}

/**
 * The record of a linear, or of expert `index` of a stack of linears. `rows` narrows it to a part of its outputs; `added`
 * is a bias that is added to the outputs of all experts laid end to end.
 */
export function linearRecord(
  linear: StoredLinear,
  index: number | null,
  rows: RowPart = whole,
  added: { bias: Bias; index: number } | null = null,
): Linear {
  const { view, rowAxis, colAxis, node, weightInput } = linear;
  const matrix = matrixOf(view, rowAxis, colAxis, expertOffset(view, linear.stackAxis, index));
  const count = rows.count ?? matrix.rows;
  const bias = added?.bias ?? linear.bias;
  const biasOffset = bias && expertOffset(bias.view, bias.stackAxis, added?.index ?? index);
  return {
    name: view.name,
    node,
    weightInput,
    weight: {
      ...matrix,
      rows: count,
      offset: matrix.offset + rows.start * matrix.rowStride,
      rowStride: matrix.rowStride * rows.step,
    },
    bias: bias && { name: bias.view.name, view: biasVector(bias, biasOffset!, rows, count) },
  };
}

/** Where expert `index` begins in a stack, in elements. */
function expertOffset(view: StoredView, stackAxis: number | null, index: number | null): number {
  if (index === null) return 0;
  return index * (view.selector?.stride ?? (stackAxis === null ? 0 : view.axes[stackAxis].stride!));
}

/** Some output rows of a linear: a half of a fused gate and up, or its even rows. */
export interface RowPart {
  start: number;
  step: number;
  /** Null for all. */
  count: number | null;
}

export const whole: RowPart = { start: 0, step: 1, count: null };

/** How many experts a node with a stacked or gathered weight holds; 1 for a single linear. */
export function stackSize({ view, stackAxis }: Pick<LinearNode, 'view' | 'stackAxis'>): number {
  return view.selector?.size ?? (stackAxis === null ? 1 : view.axes[stackAxis].size!);
}

function biasVector(
  { view, axis }: Bias,
  offset: number,
  { start, step }: RowPart,
  count: number,
): MatrixView {
  const stride = view.axes[axis].stride!;
  return {
    source: view.source,
    rows: 1,
    cols: count,
    offset: view.offset + offset + start * stride,
    rowStride: count * stride * step,
    colStride: stride * step,
  };
}
