import type { Linear, MoeLayer } from '../moe/moe-layer.ts';
import type { RefusedLinear } from '../moe/model-record.ts';
import { rolesOf } from '../moe/roles.ts';
import type { Role } from '../moe/role.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { Node } from '../onnx/node.ts';
import type { Value } from '../onnx/value.ts';
import { clipScale } from '../quantize/clip.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { quantizeRtn } from '../quantize/rtn.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { MatrixView } from '../tensor/view.ts';
import { readMatrix } from '../tensor/view.ts';
import type { LinearForm } from './grouped-ffn.ts';
import { scaleRows } from './grouped-ffn.ts';
import { intForm } from './int-form.ts';
import { nbitsForm } from './nbits-form.ts';
import { qdqForm } from './qdq-form.ts';
import type { ResolvedTarget } from './resolve-target.ts';
import { resolveTarget } from './resolve-target.ts';
import { scaleConstant } from './scale-constant.ts';

/** Schemes of what is no routed expert. */
export type DenseScheme = 'w8a8' | 'w4a16' | 'w4a8';

export interface DenseResult {
  /** Constants that were quantized, by their name in the source; written as `moeq/dense/<name>/weight`. */
  quantized: { tensor: string; role: Role }[];
  /** Linears that were left as they are, and why. */
  refused: RefusedLinear[];
}

/**
 * Quantizes the linears of attention, shared experts and head, rounding to nearest with a search of the clipping
 * range. Routers and the gates of shared experts stay. Portable models (target `qdq`) get standard operators here too;
 * otherwise activations of 8 bits mean integer arithmetic, and none MatMulNBits. Call it after the layers were emitted.
 */
export function quantizeDense(
  model: Model,
  layers: readonly MoeLayer[],
  scheme: DenseScheme,
  portable: boolean,
): DenseResult {
  const resolved = resolveTarget(portable ? 'qdq' : 'auto', scheme, 'auto');
  const roles = rolesOf(model, layers);
  const kept = new Set(layers.flatMap(({ router, shared }) => nodesOf([router.linear, shared?.sigmoidGate])));
  const result: DenseResult = { quantized: [], refused: [] };
  for (const node of model.graph.nodes.slice()) {
    const constant = weightConstant(node);
    if (!constant || kept.has(node) || constant.name.startsWith('moeq/')) continue;
    const tensor = constant.name.replace(/_smoothed(?:_\d+)?$/, '');
    const role = roles.get(tensor) ?? 'other';
    const found = readsLinear(node, constant);
    if (typeof found === 'string') result.refused.push({ tensor, role, reason: found });
    else {
      replaceLinear(model, node, { name: tensor, view: found }, resolved);
      result.quantized.push({ tensor, role });
    }
  }
  if (!portable && resolved.target === 'nbits') model.opsets.set('com.microsoft', 1);
  return result;
}

function nodesOf(linears: readonly (Linear | null | undefined)[]): Node[] {
  return linears.flatMap((linear) => (linear ? [linear.node] : []));
}

/** The constant on the right of a product, directly or through one Transpose; null for other nodes. */
function weightConstant(node: Node): Value | null {
  if (node.domain !== '' || (node.opType !== 'MatMul' && node.opType !== 'Gemm')) return null;
  const right = node.inputs[1] ?? null;
  const source = right?.producer?.opType === 'Transpose' ? right.producer.inputs[0] : right;
  return source?.tensor ? source : null;
}

const floatTypes: ReadonlySet<string> = new Set(['float32', 'float16', 'bfloat16']);
/** A product narrower than this gains nothing. */
const smallest = 16;

/** The weight [out, in] of a node, or the reason why it is none. */
function readsLinear(node: Node, constant: Value): MatrixView | string {
  const { dtype, shape } = constant.tensor!.source;
  if (!floatTypes.has(dtype)) return `its weight is ${dtype}`;
  if (shape.length !== 2) return `its weight has ${shape.length} dimensions`;
  const isPlain = (node.float('alpha') ?? 1) === 1 && (node.float('beta') ?? 1) === 1;
  if (node.int('transA') || !isPlain) return 'its Gemm scales or transposes its input';
  const through = node.inputs[1] !== constant;
  const isTransposed = Boolean(node.int('transB')) !== through;
  const [rows, cols] = isTransposed ? shape : shape.toReversed();
  if (Math.min(rows, cols) < smallest) return `it is only ${rows} by ${cols}`;
  const strides = isTransposed ? { rowStride: cols, colStride: 1 } : { rowStride: 1, colStride: rows };
  return { source: constant.tensor!.source, rows, cols, offset: 0, ...strides };
}

function replaceLinear(
  { graph }: Model,
  node: Node,
  { name, view }: { name: string; view: MatrixView },
  resolved: ResolvedTarget,
): void {
  const b = builder(graph, `moeq/dense/${name}`);
  const weight = quantizeRtn(readMatrix(view), {
    bits: resolved.scheme.weight.bits,
    groupSize: resolved.groupSizeOf(view.cols),
    fit: clipScale,
    method: 'clip',
  });
  const [input, , bias] = node.inputs;
  const output = node.outputs[0]!;
  const rows = b.op('Cast', [b.op('Reshape', [input, b.ints([-1, view.cols])])], { to: codeOf('float32') });
  let product = runLinear(b, formOf(resolved), weight, rows);
  if (bias) product = b.op('Add', [product, b.op('Cast', [bias], { to: codeOf('float32') })]);
  const typed = b.op('CastLike', [product, input], {}, { name: 'typed' });
  const leading = b.op('Shape', [input], { start: 0, end: -1 });
  const shape = b.op('Concat', [leading, b.ints([view.rows])], { axis: 0 });
  graph.replaceAllUses(output, b.op('Reshape', [typed, shape], {}, { name: 'output' }));
}

function formOf({ target, scheme: { activationBits } }: ResolvedTarget): LinearForm {
  if (target === 'int') return intForm(activationBits!);
  if (target === 'qdq') return qdqForm(activationBits);
  return nbitsForm({ activationBits, accuracyLevel: 4, packed: false });
}

function runLinear(b: Builder, form: LinearForm, weight: QuantizedTensor, x: Value): Value {
  const product = form.linear(b, 'linear', weight);
  const input = form.prepare(b, x, 'input');
  const result = product(input);
  if (!form.integer) return result;
  const scaled = scaleRows(b, result, input.scales!, 'scaled');
  const scales = scaleConstant(b, 'linear/scales', [weight.rows], weight.scales);
  return b.op('Mul', [scaled, scales], {}, { name: 'product' });
}
