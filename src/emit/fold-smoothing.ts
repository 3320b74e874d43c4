import { Fault } from '../fault.ts';
import type { Linear, MoeLayer, Norm } from '../moe/moe-layer.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { Node } from '../onnx/node.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { makeTensor } from '../onnx/tensor.ts';
import { isFloat } from '../tensor/dtype.ts';
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
  const copies = scaledCopies(layer, scales, inverse);
  if (!copies) {
    multiplyInput(model, layer, inverse);
    return 'multiplied';
  }
  for (const { node, input, tensor } of copies) node.setInput(input, node.graph.addConstant(tensor));
  return 'folded';
}

/** Columns of a constant that are to be multiplied by their factors, for one node that reads it. */
interface Scaling {
  node: Node;
  input: number;
  view: MatrixView;
  factors: Float32Array;
}

/** What a node is to read instead. Other readers keep the constant: exporters let equal tensors share one. */
interface ScaledCopy extends Pick<Scaling, 'node' | 'input'> {
  tensor: Tensor;
}

/** The gain of the norm divided, and what reads it multiplied; null where something of it cannot take the scales. */
function scaledCopies(layer: MoeLayer, scales: Float32Array, inverse: Float32Array): ScaledCopy[] | null {
  const parts = foldableParts(layer);
  if (!parts) return null;
  const scalings: Scaling[] = [
    ...parts.map(({ node, input, view }) => ({ node, input, view, factors: inverse })),
    ...readersBesideExperts(layer).map(({ node, weightInput, weight }) => ({
      node,
      input: weightInput,
      view: weight,
      factors: scales,
    })),
  ];
  // Gate and up of a shared expert may be two views of what one node reads.
  const perNode = [...Map.groupBy(scalings, ({ node }) => node).values()];
  const perInput = perNode.flatMap((own) => [...Map.groupBy(own, ({ input }) => input).values()]);
  const copies = perInput.map(scaledCopy);
  return copies.every((copy) => copy !== null) ? copies : null;
}

/** Every linear but the routed experts' that reads the norm's output; a router may have a norm of its own. */
function readersBesideExperts({ router, shared, norm }: MoeLayer): Linear[] {
  const linears = [router.linear, shared?.gate, shared?.up, shared?.sigmoidGate];
  return linears.filter((linear): linear is Linear => Boolean(linear && norm?.readers.has(linear.node)));
}

/** The gain and bias of the norm, where they can take the scales; null where there is no such norm. */
function foldableParts({ norm }: MoeLayer): NonNullable<Norm['scale']>[] | null {
  if (!norm?.foldable || !norm.scale) return null;
  return norm.bias ? [norm.scale, norm.bias] : [norm.scale];
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
 * A copy of the constant behind one input of a node, scaled. Null where a node such as a Transpose or a Cast stands
 * between them, and where its type has no room: a value that becomes infinite, or a gain that becomes zero.
 */
function scaledCopy(scalings: readonly Scaling[]): ScaledCopy | null {
  const [{ node, input, view }] = scalings;
  const constant = node.inputs[input]!;
  if (!constant.tensor) return null;
  const { source } = constant.tensor;
  const { dtype, shape } = source;
  if (!isFloat(dtype)) {
    throw new Fault({
      code: 'FOLD_DTYPE',
      what: `a ${dtype} weight cannot absorb smoothing scales`,
      where: constant.name,
      remedy: 'use --set smoothing.enabled=false, or export the model in float',
    });
  }
  const before = readFloats(source);
  const values = before.slice();
  for (const scaling of scalings) multiplyColumns(values, scaling);
  const tensor = makeTensor(`${constant.name}_smoothed`, dtype, shape, encodeNumbers(values, dtype));
  const after = readFloats(tensor.source);
  const isLost = (value: number, i: number): boolean =>
    !Number.isFinite(value) || (view.rows === 1 && value === 0 && before[i] !== 0);
  return after.some(isLost) ? null : { node, input, tensor };
}

function multiplyColumns(values: Float32Array, { view, factors }: Scaling): void {
  const { rows, cols, offset, rowStride, colStride } = view;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) values[offset + r * rowStride + c * colStride] *= factors[c];
  }
}
