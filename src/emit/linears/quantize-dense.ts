import type { RefusedLinear } from '../../moe/model-record.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { Role } from '../../moe/roles.ts';
import { rolesOf } from '../../moe/roles.ts';
import type { Model } from '../../onnx/model.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { clipScale } from '../../quantize/clip-scale.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { quantizeRtn } from '../../quantize/rtn.ts';
import type { MatrixView } from '../../tensor/view.ts';
import { readMatrix } from '../../tensor/view.ts';
import type { LinearReference } from '../parity-references.ts';
import { linearReference } from '../parity-references.ts';
import type { ResolvedTarget } from '../resolve-target.ts';
import { resolveTarget } from '../resolve-target.ts';
import { linearView, weightConstant } from './plain-linear.ts';
import type { StoredWeight } from './replace-linear.ts';
import { replaceLinear, storeWeight } from './replace-linear.ts';
import { sourceName } from './source-name.ts';

/** Schemes of what is no routed expert. */
export type DenseScheme = 'w8a8' | 'w4a16' | 'w4a8';

export interface DenseResult {
  /** Constants that were quantized, by their name in the source; written as `moeq/dense/<name>/weight`. */
  quantized: { tensor: string; role: Role }[];
  /** Linears that were left as they are, and why. */
  refused: RefusedLinear[];
  /** What the written linears must compute. */
  references: LinearReference[];
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
  const resolved = resolveTarget({ scheme, target: portable ? 'qdq' : 'auto' });
  const roles = rolesOf(model, layers);
  const kept = new Set(layers.map(({ shared }) => shared?.sigmoidGate?.node));
  const result: DenseResult = { quantized: [], refused: [], references: [] };
  // By constant, and by whether it is read as [out, in] or the other way round.
  const stored = new Map<string, StoredWeight>();
  for (const node of model.graph.nodes.slice()) {
    const constant = weightConstant(node);
    if (!constant || kept.has(node) || constant.name.startsWith('moeq/')) continue;
    const tensor = sourceName(constant.name, roles);
    const role = roles.get(tensor) ?? 'other';
    if (role === 'router') continue;
    const found = quantizableView(node, constant);
    if (typeof found === 'string') {
      result.refused.push({ tensor, role, reason: found });
      continue;
    }
    const key = `${constant.name} ${found.rowStride}`;
    if (!stored.has(key)) {
      const id = `dense/${tensor}`;
      const weight = quantized(found, resolved);
      stored.set(key, storeWeight(model.graph, weight, { prefix: `moeq/${id}`, resolved }));
      result.references.push(linearReference(id, weight, resolved));
      result.quantized.push({ tensor, role });
    }
    replaceLinear(model.graph, node, stored.get(key)!);
  }
  result.refused.push(...overlooked(model, roles, layers, result));
  if (!portable && resolved.target === 'nbits') model.opsets.set('com.microsoft', 1);
  return result;
}

/** Weights of these roles are to be quantized. */
const denseRoles: ReadonlySet<Role | undefined> = new Set<Role>(['attention', 'shared', 'head']);

/** Weights that no product of the main graph reads as they are stored, which nothing was said of so far. */
function overlooked(
  { graph }: Model,
  roles: ReadonlyMap<string, Role>,
  layers: readonly MoeLayer[],
  { quantized: done, refused }: DenseResult,
): RefusedLinear[] {
  const told = new Set([...done, ...refused].map(({ tensor }) => tensor));
  for (const { shared } of layers) if (shared?.sigmoidGate) told.add(shared.sigmoidGate.name);
  const reason = 'no MatMul or Gemm of the main graph reads it as it is stored, on its right';
  return [...graph.constants].flatMap(({ name, tensor }) => {
    const source = sourceName(name, roles);
    const role = roles.get(source);
    const isMatrix = tensor!.source.shape.filter((size) => size >= smallest).length >= 2;
    const isMeant = isMatrix && denseRoles.has(role) && !told.has(source) && !name.startsWith('moeq/');
    return isMeant ? [{ tensor: source, role: role!, reason }] : [];
  });
}

/** A product narrower than this gains nothing. */
const smallest = 16;

/** The weight [out, in] of a node, or the reason why it stays. */
function quantizableView(node: Node, constant: Value): MatrixView | string {
  const view = linearView(node, constant);
  if (typeof view === 'string') return view;
  const { rows, cols } = view;
  return Math.min(rows, cols) < smallest ? `it is only ${rows} by ${cols}` : view;
}

function quantized(view: MatrixView, { scheme, groupsOf }: ResolvedTarget): QuantizedTensor {
  const options = { bits: scheme.weight.bits, ...groupsOf(view.cols), fit: clipScale };
  return quantizeRtn(readMatrix(view), { ...options, method: 'clip' });
}
