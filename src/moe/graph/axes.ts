import type { Node } from '../../onnx/node.ts';
import { numbersOf } from './constant.ts';

/** The axes an operator works on: an attribute up to opset 12, an input since then; null when left out or computed. */
export function axesOf(node: Node): number[] | null {
  const input = node.opType.startsWith('Reduce') || node.opType.endsWith('queeze') ? 1 : 3;
  return node.ints('axes') ?? numbersOf(node.inputs[input]);
}

/** An axis counted from the front. */
export function positiveAxis(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** The one axis a ReduceSum adds over, from the back (−1 is the last). Null for several or unknown. */
export function summedAxis(node: Node, rank: number): number | null {
  const axes = axesOf(node);
  return axes?.length === 1 ? positiveAxis(axes[0], rank) - rank : null;
}
