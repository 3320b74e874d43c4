import type { Node } from '../onnx/node.ts';
import type { Value } from '../onnx/value.ts';
import type { MatrixView } from '../tensor/view.ts';
import { tensorOf } from './constant.ts';
import type { Equation } from './einsum.ts';
import { equationOf } from './einsum.ts';
import { matrixOf, storedView } from './stored-view.ts';
import type { StoredView } from './stored-view.ts';
import type { Shapes } from './shapes.ts';
import type { Linear } from './moe-layer.ts';

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

/** A stored bias: the axis that runs over outputs, and the one that runs over experts, if any. */
export interface Bias {
  view: StoredView;
  axis: number;
  stackAxis: number | null;
}

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
  linear: LinearNode,
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

interface Operands {
  view: StoredView;
  weightInput: number;
  input: Value;
  rowAxis: number;
  colAxis: number;
  stackAxis: number | null;
  isSwapped?: boolean;
}

function operandsOf(node: Node, shapes: Shapes): Operands | null {
  switch (node.opType) {
    case 'MatMul':
    case 'FusedMatMul':
      return matMulOperands(node, shapes);
    case 'Gemm':
    case 'FusedGemm':
      return gemmOperands(node, shapes);
    case 'Einsum':
      return einsumOperands(node, shapes);
    case 'Conv':
    case 'FusedConv':
      return convOperands(node, shapes);
    case 'MatMulNBits':
      return packedOperands(node);
    default:
      return null;
  }
}

/** A weight that is quantized already: its shape is known, its numbers are not plain. */
function packedOperands(node: Node): Operands | null {
  const [input, packed] = node.inputs;
  const tensor = tensorOf(packed);
  const [size, width] = [node.int('N'), node.int('K')];
  if (!input || !packed || !tensor || !size || !width) return null;
  const axes = [size, width].map((each) => ({ size: each, stride: 0 }));
  const view = {
    root: packed,
    name: packed.name,
    source: tensor.source,
    axes,
    offset: 0,
    selector: null,
    quantized: true,
  };
  return { view, weightInput: 1, input, rowAxis: 0, colAxis: 1, stackAxis: null };
}

function matMulOperands(node: Node, shapes: Shapes): Operands | null {
  if ((node.float('alpha') ?? 1) !== 1 || node.int('transBatchA') || node.int('transBatchB')) return null;
  for (const weightInput of [1, 0]) {
    const input = node.inputs[1 - weightInput];
    const view = storedView(node.inputs[weightInput], shapes);
    if (!view || !input || storedView(input, shapes)) continue;
    const rank = view.axes.length;
    const isTransposed = Boolean(node.int(weightInput === 1 ? 'transB' : 'transA'));
    const rowIsLast = (weightInput === 1) !== isTransposed;
    const [rowAxis, colAxis] = rowIsLast ? [rank - 1, rank - 2] : [rank - 2, rank - 1];
    const stack = stackAxisOf(view, rank - 2);
    if (rank < 2 || stack === undefined) continue;
    const read = shapes.shapeOf(input)?.at(weightInput === 1 ? -1 : -2) ?? null;
    // Some builders write a weight the wrong way round. ONNX Runtime refuses such a file; its weights are still told apart.
    const isSwapped = read !== null && view.axes[colAxis].size !== read && view.axes[rowAxis].size === read;
    const axes = isSwapped ? { rowAxis: colAxis, colAxis: rowAxis } : { rowAxis, colAxis };
    return { view, weightInput, input, ...axes, stackAxis: stack, isSwapped };
  }
  return null;
}

/** The one leading axis above size 1 that numbers experts; null if there is none, undefined if there are several. */
function stackAxisOf({ axes }: StoredView, count: number): number | null | undefined {
  const stacked = axes
    .slice(0, Math.max(0, count))
    .flatMap(({ size, stride }, index) => (stride !== null && size !== 1 ? [index] : []));
  return stacked.length > 1 ? undefined : (stacked[0] ?? null);
}

function gemmOperands(node: Node, shapes: Shapes): Operands | null {
  const [input] = node.inputs;
  const view = storedView(node.inputs[1], shapes);
  const plain = (node.float('alpha') ?? 1) === 1 && (node.float('beta') ?? 1) === 1 && !node.int('transA');
  if (!view || !input || !plain || view.axes.length !== 2) return null;
  const [rowAxis, colAxis] = node.int('transB') ? [0, 1] : [1, 0];
  return { view, weightInput: 1, input, rowAxis, colAxis, stackAxis: null };
}

function convOperands(node: Node, shapes: Shapes): Operands | null {
  const [input] = node.inputs;
  const view = storedView(node.inputs[1], shapes);
  if (!view || !input || view.axes.length < 3) return null;
  return { view, weightInput: 1, input, rowAxis: 0, colAxis: 1, stackAxis: null };
}

function einsumOperands(node: Node, shapes: Shapes): Operands | null {
  const equation = equationOf(node);
  if (equation?.operands.length !== 2) return null;
  for (const weightInput of [1, 0]) {
    const input = node.inputs[1 - weightInput];
    const view = storedView(node.inputs[weightInput], shapes);
    if (!view || !input || storedView(input, shapes)) continue;
    const axes = einsumAxes(view, equation, weightInput);
    return axes && { view, weightInput, input, ...axes };
  }
  return null;
}

function einsumAxes(
  view: StoredView,
  { operands, output }: Equation,
  weightInput: number,
): Pick<Operands, 'rowAxis' | 'colAxis' | 'stackAxis'> | null {
  const own = operands[weightInput];
  const other = operands[1 - weightInput];
  const axesWith = (test: (label: string) => boolean): number[] =>
    own.flatMap((label, index) => (view.axes[index]?.stride !== null && test(label) ? [index] : []));
  const contracted = axesWith((label) => other.includes(label) && !output.includes(label));
  const shared = axesWith((label) => other.includes(label) && output.includes(label));
  const free = axesWith((label) => !other.includes(label) && output.includes(label));
  if (contracted.length !== 1 || shared.length + free.length > 2 || free.length === 0) return null;
  // With two free axes the first in the output numbers the experts, as in `bd,deh->beh`.
  const ordered = free.toSorted((a, b) => output.indexOf(own[a]) - output.indexOf(own[b]));
  const stackAxis = shared[0] ?? (ordered.length > 1 ? ordered[0] : null);
  return { rowAxis: ordered.at(-1)!, colAxis: contracted[0], stackAxis };
}

function hasBiasInput({ opType, inputs }: Node): boolean {
  return (opType.endsWith('Gemm') || opType.endsWith('Conv')) && Boolean(inputs[2]);
}

/** Operators that add their second input, alone or before an activation. */
const biasOps = new Set(['Add', 'BiasGelu', 'FastGelu']);
const layout = new Set(['Squeeze', 'Unsqueeze', 'Reshape', 'Identity', 'Cast']);

/**
 * A bias that an Add (or BiasGelu) brings in after `product`, possibly behind a squeeze or reshape. With `isGathered`
 * the bias of each row's expert must be gathered from a stack of `experts` biases.
 */
export function biasAfter(
  product: Value,
  out: number,
  experts: number,
  isGathered: boolean,
  shapes: Shapes,
): { node: Node; output: Value; bias: Bias } | null {
  let value = product;
  for (let hops = 0; hops < 4; hops++) {
    const [use, ...others] = value.uses.filter(({ node }) => node.opType !== 'Shape');
    if (!use || others.length > 0) return null;
    const { node } = use;
    if (layout.has(node.opType) && use.index === 0) {
      value = node.outputs[0]!;
      continue;
    }
    if (!biasOps.has(node.opType)) return null;
    const view = storedView(node.inputs[1 - use.index], shapes);
    const bias = view && biasAxes(view, out, experts, isGathered ? experts : null);
    return bias && { node, output: node.opType === 'Add' ? node.outputs[0]! : value, bias };
  }
  return null;
}

/**
 * Tells which axis of a bias runs over outputs and which over experts; null if it is no bias of such a linear. `gathered`
 * is the size of the stack that it must be gathered from at run time, if it must.
 */
function biasAxes(view: StoredView, out: number, experts: number, gathered: number | null): Bias | null {
  const axis = view.axes.findLastIndex(({ size, stride }) => size === out && stride !== null);
  if (axis < 0) return null;
  const others = view.axes.flatMap(({ size, stride }, at) =>
    at !== axis && stride !== null && size !== 1 ? [at] : [],
  );
  if (gathered !== null)
    return view.selector?.size === gathered && others.length === 0 ? { view, axis, stackAxis: null } : null;
  if (view.selector) return null;
  if (others.length === 0) return { view, axis, stackAxis: null };
  return others.length === 1 && view.axes[others[0]].size === experts
    ? { view, axis, stackAxis: others[0] }
    : null;
}
