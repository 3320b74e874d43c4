import type { Node } from '../../onnx/node.ts';

/** Dimensions of a value, null where unknown. */
export type Dims = (number | null)[];

/** A sum or product with an unknown part is unknown. */
export function add(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a + b;
}

export function multiply(a: number | null, b: number | null): number | null {
  return a === 0 || b === 0 ? 0 : a === null || b === null ? null : a * b;
}

/** Number of elements of a shape. */
export function countOf(dims: Dims): number | null {
  return dims.reduce<number | null>(multiply, 1);
}

/** The part of a shape that a Shape operator gives. */
export function shapeSlice(node: Node, dims: Dims): Dims {
  return dims.slice(node.int('start') ?? 0, node.int('end') ?? dims.length);
}
