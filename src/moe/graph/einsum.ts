import type { Node } from '../../onnx/node.ts';

/** Axis labels of an Einsum, per operand and for the output. */
export interface Equation {
  operands: string[][];
  output: string[];
}

/** Reads an explicit equation such as `tec,td->ecd`; null for one with an ellipsis or without an arrow. */
export function equationOf(node: Node): Equation | null {
  const [inputs, output] = (node.string('equation') ?? '').replaceAll(' ', '').split('->');
  if (output === undefined || inputs.includes('.') || output.includes('.')) return null;
  return { operands: inputs.split(',').map((labels) => labels.split('')), output: output.split('') };
}
