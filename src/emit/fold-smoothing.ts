import { Fault } from '../fault.ts';
import type { Linear, MoeLayer, Norm } from '../moe/moe-layer.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { Node } from '../onnx/node.ts';
import { makeTensor } from '../onnx/tensor.ts';
import { encodeNumbers } from '../tensor/encode.ts';
import type { MatrixView } from '../tensor/view.ts';
import { readFloats } from '../tensor/view.ts';

/** How smoothing scales came into a graph. */
export type Folding = 'folded' | 'multiplied';

/**
 * Divides what the experts of a layer read by `scales` [hidden]; the caller multiplies the columns of the routed
 * experts' first linears. With a foldable norm its gain absorbs the division and router and shared expert are
 * multiplied here, at no cost at run time (EAQuant, section 3.1); otherwise one explicit multiplication is added in
 * front of the experts alone.
 * Call it before `emitLayer`.
 */
export function foldSmoothing(model: Model, layer: MoeLayer, scales: Float32Array): Folding {
  const inverse = scales.map((scale) => 1 / scale);
  const readers = readersBesideExperts(layer);
  const parts = foldableParts(layer);
  if (!parts || !readers.every(({ node, weightInput }) => isStored(node, weightInput))) {
    multiplyInput(model, layer, inverse);
    return 'multiplied';
  }
  for (const part of parts) {
    scaleConstant(part.node, part.input, part.view, (_row, column) => inverse[column]);
  }
  for (const { node, weightInput, weight } of readers) {
    scaleConstant(node, weightInput, weight, (_row, column) => scales[column]);
  }
  return 'folded';
}

/** Every linear but the routed experts' that reads the norm's output; a router may have a norm of its own. */
function readersBesideExperts({ router, shared, norm }: MoeLayer): Linear[] {
  const linears = [router.linear, shared?.gate, shared?.up, shared?.sigmoidGate];
  return linears.filter((linear): linear is Linear => Boolean(linear && norm?.readers.has(linear.node)));
}

/** The gain and bias of the norm, where they can take the scales; null where there is no such norm. */
function foldableParts({ norm }: MoeLayer): NonNullable<Norm['scale']>[] | null {
  if (!norm?.foldable || !norm.scale) return null;
  const parts = norm.bias ? [norm.scale, norm.bias] : [norm.scale];
  return parts.every(({ node, input }) => isStored(node, input)) ? parts : null;
}

/** False when something such as a Transpose or a Cast stands between the constant and its reader. */
function isStored(node: Node, input: number): boolean {
  return Boolean(node.inputs[input]?.tensor);
}

function multiplyInput(model: Model, layer: MoeLayer, factors: Float32Array): void {
  const b = builder(model.graph, `moeq/${layer.id}`);
  const boundary = layer.boundary!;
  const constant = b.constant('smoothing', 'float32', [factors.length], factors);
  // The file need not tell the type of the input.
  const typed = b.op('CastLike', [constant, boundary.input]);
  boundary.input = b.op('Mul', [boundary.input, typed], {}, { name: 'smoothed' });
}

/**
 * Gives one reader of a constant a copy of it in which every element of the view is multiplied. Other readers
 * keep the original: exporters let equal tensors share one constant.
 */
function scaleConstant(
  node: Node,
  input: number,
  view: MatrixView,
  factor: (row: number, column: number) => number,
): void {
  const { rows, cols, offset, rowStride, colStride } = view;
  const constant = node.inputs[input]!;
  const { dtype, shape } = constant.tensor!.source;
  if (!floatTypes.has(dtype)) {
    throw new Fault({
      code: 'FOLD_DTYPE',
      what: `a ${dtype} weight cannot absorb smoothing scales`,
      where: constant.name,
    });
  }
  const values = readFloats(constant.tensor!.source);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) values[offset + r * rowStride + c * colStride] *= factor(r, c);
  }
  const tensor = makeTensor(`${constant.name}_smoothed`, dtype, shape, encodeNumbers(values, dtype));
  node.setInput(input, node.graph.addConstant(tensor));
}

const floatTypes: ReadonlySet<string> = new Set(['float32', 'float16', 'bfloat16', 'float64']);
