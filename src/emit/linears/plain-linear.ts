import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { MatrixView } from '../../tensor/view.ts';

/** The constant on the right of a product, directly or through one Transpose; null for other nodes. */
export function weightConstant(node: Node): Value | null {
  if (node.domain !== '' || (node.opType !== 'MatMul' && node.opType !== 'Gemm')) return null;
  const right = node.inputs[1] ?? null;
  const source = right?.producer?.opType === 'Transpose' ? right.producer.inputs[0] : right;
  return source?.tensor ? source : null;
}

const floatTypes: ReadonlySet<string> = new Set(['float32', 'float16', 'bfloat16']);

/** The weight [out, in] by which a node multiplies its first input, or the reason why it is no plain linear. */
export function linearView(node: Node, constant: Value): MatrixView | string {
  const { dtype, shape } = constant.tensor!.source;
  if (!floatTypes.has(dtype)) return `its weight is ${dtype}`;
  if (shape.length !== 2) return `its weight has ${shape.length} dimensions`;
  const isPlain = (node.float('alpha') ?? 1) === 1 && (node.float('beta') ?? 1) === 1;
  if (node.int('transA') || !isPlain) return 'its Gemm scales or transposes its input';
  const through = node.inputs[1] !== constant;
  const isTransposed = Boolean(node.int('transB')) !== through;
  const [rows, cols] = isTransposed ? shape : shape.toReversed();
  const strides = isTransposed ? { rowStride: cols, colStride: 1 } : { rowStride: 1, colStride: rows };
  return { source: constant.tensor!.source, rows, cols, offset: 0, ...strides };
}
