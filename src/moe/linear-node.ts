import type { Node } from '../onnx/node.ts';
import type { Value } from '../onnx/value.ts';
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
  out: number;
  in: number;
}

interface Bias {
  view: StoredView;
  axis: number;
  stackAxis: number | null;
}

/** The linear a node computes; null if it is none, or if its weight is not stored in the file. */
export function linearNode(node: Node, shapes: Shapes): LinearNode | null {
  const operands = operandsOf(node, shapes);
  if (!operands) return null;
  const { view, rowAxis, colAxis, weightInput, stackAxis, input } = operands;
  const [product] = node.outputs;
  const [out, inn] = [view.axes[rowAxis]?.size, view.axes[colAxis]?.size];
  if (!product || out == null || inn == null) return null;
  const bare = { node, weightInput, input, product, view, rowAxis, colAxis, stackAxis, out, in: inn };
  const fixed = gemmBias(node, out, shapes);
  if (fixed) return { ...bare, output: product, bias: fixed };
  const added = addedBias(product, out, view, stackAxis, shapes);
  return { ...bare, output: added?.output ?? product, bias: added?.bias ?? null };
}

/** The record of a linear, or of expert `index` of a stack of linears. `rows` narrows it to a part of its outputs. */
export function linearRecord(linear: LinearNode, index: number | null, rows: RowPart = whole): Linear {
  const { view, rowAxis, colAxis, bias, node, weightInput } = linear;
  const stride = (of: StoredView, stackAxis: number | null): number =>
    index === null
      ? 0
      : index * (of.selector?.stride ?? (stackAxis === null ? 0 : of.axes[stackAxis].stride!));
  const matrix = matrixOf(view, rowAxis, colAxis, stride(view, linear.stackAxis));
  const count = rows.count ?? matrix.rows;
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
    bias: bias && {
      name: bias.view.name,
      view: biasVector(bias, stride(bias.view, bias.stackAxis), rows.start, rows.step, count),
    },
  };
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
export function stackSize({ view, stackAxis }: LinearNode): number {
  return view.selector?.size ?? (stackAxis === null ? 1 : view.axes[stackAxis].size!);
}

function biasVector(
  bias: Bias,
  offset: number,
  start: number,
  step: number,
  count: number,
): NonNullable<Linear['bias']>['view'] {
  const stride = bias.view.axes[bias.axis].stride!;
  return {
    source: bias.view.source,
    rows: 1,
    cols: count,
    offset: bias.view.offset + offset + start * stride,
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
      return convOperands(node, shapes);
    default:
      return null;
  }
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
    return { view, weightInput, input, rowAxis, colAxis, stackAxis: stack };
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
  const [inputs, output] = (node.string('equation') ?? '').replaceAll(' ', '').split('->');
  const labels = inputs.split(',');
  if (!output || labels.length !== 2) return null;
  for (const weightInput of [1, 0]) {
    const input = node.inputs[1 - weightInput];
    const view = storedView(node.inputs[weightInput], shapes);
    if (!view || !input || storedView(input, shapes)) continue;
    return einsumAxes(view, labels[weightInput], labels[1 - weightInput], output, weightInput, input);
  }
  return null;
}

function einsumAxes(
  view: StoredView,
  own: string,
  other: string,
  output: string,
  weightInput: number,
  input: Value,
): Operands | null {
  const axisOf = (test: (label: string) => boolean): number[] =>
    [...own].flatMap((label, index) => (test(label) ? [index] : []));
  const contracted = axisOf((label) => other.includes(label) && !output.includes(label));
  const shared = axisOf((label) => other.includes(label) && output.includes(label));
  const free = axisOf((label) => !other.includes(label) && output.includes(label));
  if (contracted.length !== 1 || shared.length + free.length > 2 || free.length === 0) return null;
  // With two free axes the first in the output numbers the experts, as in `bd,deh->beh`.
  const ordered = free.toSorted((a, b) => output.indexOf(own[a]) - output.indexOf(own[b]));
  const rowAxis = ordered.at(-1)!;
  const stackAxis = shared[0] ?? (ordered.length > 1 ? ordered[0] : null);
  return { view, weightInput, input, rowAxis, colAxis: contracted[0], stackAxis };
}

function gemmBias(node: Node, out: number, shapes: Shapes): Bias | null {
  if (!node.opType.endsWith('Gemm') && node.opType !== 'Conv') return null;
  const view = storedView(node.inputs[2], shapes);
  return view && biasAxes(view, out, 1, null);
}

const layout = new Set(['Squeeze', 'Unsqueeze', 'Reshape', 'Identity', 'Cast']);

/** A bias that an Add (or BiasGelu) after the product brings in, possibly behind a squeeze or reshape. */
function addedBias(
  product: Value,
  out: number,
  weight: StoredView,
  stackAxis: number | null,
  shapes: Shapes,
): { output: Value; bias: Bias } | null {
  const experts = weight.selector?.size ?? (stackAxis === null ? 1 : (weight.axes[stackAxis].size ?? 1));
  let value = product;
  for (let hops = 0; hops < 4; hops++) {
    const [use, ...others] = value.uses.filter(({ node }) => node.opType !== 'Shape');
    if (!use || others.length > 0) return null;
    const { node } = use;
    if (layout.has(node.opType) && use.index === 0) {
      value = node.outputs[0]!;
      continue;
    }
    if (node.opType !== 'Add' && node.opType !== 'BiasGelu') return null;
    const view = storedView(node.inputs[1 - use.index], shapes);
    const bias = view && biasAxes(view, out, experts, weight.selector?.index ?? null);
    return bias && { output: node.opType === 'Add' ? node.outputs[0]! : value, bias };
  }
  return null;
}

/** Tells which axis of a bias runs over outputs and which over experts; null if it is no bias of such a linear. */
function biasAxes(view: StoredView, out: number, experts: number, index: Value | null): Bias | null {
  const axis = view.axes.findLastIndex(({ size, stride }) => size === out && stride !== null);
  if (axis < 0) return null;
  const others = view.axes.flatMap(({ size, stride }, at) =>
    at !== axis && stride !== null && size !== 1 ? [at] : [],
  );
  if (index)
    return view.selector?.size === experts && others.length === 0 ? { view, axis, stackAxis: null } : null;
  if (view.selector) return null;
  if (others.length === 0) return { view, axis, stackAxis: null };
  return others.length === 1 && view.axes[others[0]].size === experts
    ? { view, axis, stackAxis: others[0] }
    : null;
}
