import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { tensorOf } from './constant.ts';
import type { Equation } from './einsum.ts';
import { equationOf } from './einsum.ts';
import type { Shapes } from './shapes.ts';
import type { StoredView } from './stored-view.ts';
import { weightView } from './stored-view.ts';

/** The weight of a multiplication, which input it is, and what its axes mean. */
export interface Operands {
  view: StoredView;
  weightInput: number;
  input: Value;
  rowAxis: number;
  colAxis: number;
  stackAxis: number | null;
  isSwapped?: boolean;
}

/** Tells weight from activation, rows from columns, and finds the axis of experts; null for what is no linear. */
export function operandsOf(node: Node, shapes: Shapes): Operands | null {
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
    numbers: 'quantized' as const,
  };
  return { view, weightInput: 1, input, rowAxis: 0, colAxis: 1, stackAxis: null };
}

function matMulOperands(node: Node, shapes: Shapes): Operands | null {
  if ((node.float('alpha') ?? 1) !== 1 || node.int('transBatchA') || node.int('transBatchB')) return null;
  for (const weightInput of [1, 0]) {
    const input = node.inputs[1 - weightInput];
    const view = weightView(node.inputs[weightInput], shapes);
    if (!view || !input || weightView(input, shapes)) continue;
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
  const view = weightView(node.inputs[1], shapes);
  const plain = (node.float('alpha') ?? 1) === 1 && (node.float('beta') ?? 1) === 1 && !node.int('transA');
  if (!view || !input || !plain || view.axes.length !== 2) return null;
  const [rowAxis, colAxis] = node.int('transB') ? [0, 1] : [1, 0];
  return { view, weightInput: 1, input, rowAxis, colAxis, stackAxis: null };
}

function convOperands(node: Node, shapes: Shapes): Operands | null {
  const [input] = node.inputs;
  const view = weightView(node.inputs[1], shapes);
  if (!view || !input || view.axes.length < 3) return null;
  return { view, weightInput: 1, input, rowAxis: 0, colAxis: 1, stackAxis: null };
}

function einsumOperands(node: Node, shapes: Shapes): Operands | null {
  const equation = equationOf(node);
  if (equation?.operands.length !== 2) return null;
  for (const weightInput of [1, 0]) {
    const input = node.inputs[1 - weightInput];
    const view = weightView(node.inputs[weightInput], shapes);
    if (!view || !input || weightView(input, shapes)) continue;
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
