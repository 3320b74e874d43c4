import type { Model } from '../onnx/model.ts';
import type { Node } from '../onnx/node.ts';
import type { Value } from '../onnx/value.ts';
import { nodesBetween } from './graph/nodes-between.ts';
import type { Linear, MoeLayer } from './moe-layer.ts';

/**
 * What each constant of a model is for. Experts, routers and shared experts come from the located layers; the rest by
 * use: a table that is looked up is an embedding, a linear whose product is a graph output is the head, other
 * linears count as attention, vectors that scale a normalization as norm.
 */
export function rolesOf({ graph }: Model, layers: readonly MoeLayer[]): Map<string, Role> {
  const sorted = graph.sortedNodes();
  const roles = new Map(layers.flatMap((layer) => [...rolesIn(layer, sorted)]));
  const outputs = new Set(graph.outputs);
  for (const value of graph.constants) {
    if (!roles.has(value.name)) roles.set(value.name, roleByUse(value, outputs));
  }
  return roles;
}

/** What the constants of a layer are for. */
export function rolesIn(layer: MoeLayer, sorted: readonly Node[]): Map<string, Role> {
  const { experts, router, shared, norm } = layer;
  const roles = new Map<string, Role>();
  const assign = (role: Role, linears: readonly (Linear | null | undefined)[]): void => {
    for (const linear of linears) {
      if (linear) roles.set(linear.name, role);
      if (linear?.bias) roles.set(linear.bias.name, role);
    }
  };
  for (const expert of experts) assign('expert', [expert.gate, expert.up, expert.down]);
  for (const weight of routerWeights(sorted, layer)) roles.set(weight.name, 'router');
  assign('router', [router.linear]);
  assign('shared', [shared?.gate, shared?.up, shared?.down, shared?.sigmoidGate]);
  for (const part of [norm?.scale, norm?.bias]) if (part) roles.set(part.name, 'norm');
  return roles;
}

/** Stored matrices by which a router makes its logits of the layer's input: it may be an MLP. */
function routerWeights(sorted: readonly Node[], { boundary, norm, router }: MoeLayer): Value[] {
  const entries = [boundary?.input, norm?.input].filter((value) => value !== undefined);
  const reads = nodesBetween(sorted, entries, router.logits).flatMap(({ inputs }) =>
    inputs.map(storedBehind),
  );
  return reads.filter((value) => value?.tensor?.source.shape.length === 2) as Value[];
}

/** What a value is before its layout or type was changed. */
function storedBehind(value: Value | null): Value | null {
  let stored = value;
  while (stored?.producer && layoutTypes.has(stored.producer.opType)) stored = stored.producer.inputs[0];
  return stored;
}

const linearTypes = new Set(['MatMul', 'Gemm', 'Conv', 'FusedMatMul', 'MatMulNBits', 'MatMulInteger']);
const layoutTypes = new Set(['Cast', 'Reshape', 'Transpose', 'Identity', 'DequantizeLinear']);

function roleByUse(value: Value, outputs: ReadonlySet<Value>): Role {
  const { dtype, shape } = value.tensor!.source;
  const readers = value.consumers;
  if (readers.some((node) => isLookUp(node, value)) && shape.length === 2) return 'embedding';
  const linear = readers.map(throughLayout).find((node) => linearTypes.has(node.opType));
  if (linear && shape.length >= 2) return reachesOutput(linear, outputs) ? 'head' : 'attention';
  const isFloat = dtype.includes('float');
  return isFloat && shape.length === 1 && shape[0] > 1 && readers.some(isScaling) ? 'norm' : 'other';
}

function isLookUp(node: Node, table: Value): boolean {
  return (node.opType === 'Gather' || node.opType === 'GatherBlockQuantized') && node.inputs[0] === table;
}

/** The first reader behind casts and reshapes. */
function throughLayout(node: Node): Node {
  let current = node;
  for (let next = node; layoutTypes.has(current.opType); current = next) {
    const readers = current.outputs[0]?.consumers ?? [];
    if (readers.length !== 1) return current;
    next = readers[0];
  }
  return current;
}

function reachesOutput(node: Node, outputs: ReadonlySet<Value>): boolean {
  const last = throughLayout(node);
  return [...node.outputs, ...last.outputs].some((value) => value !== null && outputs.has(value));
}

function isScaling({ opType }: Node): boolean {
  return opType === 'Mul' || opType.endsWith('Normalization');
}

/** What a constant of a model is for. */
export const roles = [
  'expert',
  'router',
  'shared',
  'attention',
  'norm',
  'embedding',
  'head',
  'other',
] as const;

export type Role = (typeof roles)[number];
