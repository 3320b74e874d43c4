import type { Node } from '../../onnx/node.ts';
import type { Shapes } from './shapes.ts';

/** The k of a TopK, an attribute up to opset 9 and an input since then; null where it is computed at run time. */
export function topKCount(node: Node, shapes: Shapes): number | null {
  return node.int('k') ?? shapes.integersOf(node.inputs[1])?.[0] ?? null;
}
