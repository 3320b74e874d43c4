import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { RowPart } from '../graph/linear-node.ts';
import { linearRecord, maxStack, whole } from '../graph/linear-node.ts';
import { aliasRoot } from '../graph/operators.ts';
import type { StoredView } from '../graph/stored-view.ts';
import { numbersProblem, storedView } from '../graph/stored-view.ts';
import type { Activation, Expert, Linear, MoeLayer, Router, Routing, Scoring } from '../moe-layer.ts';
import { linearSources } from './anchor.ts';
import { normOf } from './norm.ts';

/** Inputs of the fused operators, by role. */
type Slots = Record<'fc1' | 'fc1Bias' | 'fc2' | 'fc2Bias' | 'fc3', number>;

const floatSlots: Slots = { fc1: 2, fc1Bias: 3, fc2: 4, fc2Bias: 5, fc3: 6 };
const packedSlots: Slots = { fc1: 2, fc1Bias: 4, fc2: 5, fc2Bias: 7, fc3: 8 };

/** Layers written as one `com.microsoft` MoE or QMoE operator. Ids are set by the caller. */
export function fusedLayers(facts: GraphFacts): { node: Node; layer: MoeLayer }[] {
  return facts.nodes
    .filter(({ opType, domain }) => domain !== '' && (opType === 'MoE' || opType === 'QMoE'))
    .flatMap((node) => {
      const layer = fusedLayer(node, facts);
      return layer ? [{ node, layer }] : [];
    });
}

function fusedLayer(node: Node, facts: GraphFacts): MoeLayer | null {
  const isPacked = node.opType === 'QMoE';
  const slots = isPacked ? packedSlots : floatSlots;
  const [input, probabilities] = node.inputs;
  const fc1 = facts.shapes.shapeOf(node.inputs[slots.fc1]);
  const fc2 = facts.shapes.shapeOf(node.inputs[slots.fc2]);
  const [output] = node.outputs;
  if (!input || !probabilities || !output || fc1?.length !== 3 || fc2?.length !== 3 || fc1[0]! > maxStack)
    return null;
  const pack = isPacked ? 8 / (node.int('expert_weight_bits') ?? 4) : 1;
  const isSwiglu =
    node.string('activation_type') === 'swiglu' ||
    (isPacked && node.int('swiglu_fusion') !== undefined && node.int('swiglu_fusion') !== 0);
  const fusion = node.int('swiglu_fusion') ?? 0;
  const hasThird = Boolean(node.inputs[slots.fc3]);
  const count = fc1[0]!;
  const hidden = facts.shapes.shapeOf(input)?.at(-1) ?? fc1[2]! * pack;
  // Weights are [experts, out, in] since 2025 and were [experts, in, out] before: `hidden` tells which.
  const isOutMajor = fc1[2]! * pack === hidden;
  const width = isOutMajor ? fc1[1]! : fc1[2]! * pack;
  const isHalved = isSwiglu && fusion > 0 && !hasThird;
  const intermediate = isHalved ? width / 2 : width;
  const isGated = isHalved || hasThird;
  const reasons = isPacked ? ['it is quantized already (QMoE)'] : [];
  const experts = isPacked
    ? packedExperts(count)
    : floatExperts(node, slots, facts, { count, isOutMajor, fusion: isHalved ? fusion : 0, intermediate });
  if (!experts) reasons.push('its expert weights are not stored in the file');
  const problem = isPacked ? null : numbersProblem(storedViews(node, slots, facts));
  if (problem) reasons.push(problem);
  if (hasThird && !isPacked)
    reasons.push('the third weight of a fused MoE is not run by ONNX Runtime on CPU');
  if (node.int('use_sparse_mixer')) reasons.push('its sparse mixer runs only inside the fused operator');
  const activation = fusedActivation(node, isSwiglu);
  if (activation.name === 'unknown')
    reasons.push(`its function ${node.string('activation_type')} is not a known activation`);
  const router = fusedRouter(node, probabilities, count, facts);
  const routing: Routing = {
    kind: 'logits',
    logits: probabilities,
    k: router.topK!,
    renormalized: node.int('normalize_routing_weights') === 1,
    appliesTo: 'output',
  };
  return {
    id: '',
    form: 'fused',
    router,
    routers: 1,
    experts: experts ?? packedExperts(count),
    hidden,
    intermediate,
    gated: isGated,
    activation,
    shared: null,
    norm: normOf(aliasRoot(input), new Set([node, ...(router.linear ? [router.linear.node] : [])]), facts),
    boundary: reasons.length === 0 ? { input, output, routing } : null,
    complete: true,
    quantizable: reasons.length === 0,
    reason: reasons.join('; '),
    warnings: isGated === isSwiglu || hasThird ? [] : ['the gate of its SwiGLU experts was not found'],
  };
}

function packedExperts(count: number): Expert[] {
  return Array.from({ length: count }, (_, index) => ({
    id: '',
    index,
    kind: 'ffn',
    gate: null,
    up: null,
    down: null,
  }));
}

interface Layout {
  count: number;
  isOutMajor: boolean;
  /** swiglu_fusion: 1 interleaved rows, 2 halves, 0 no gate in fc1. */
  fusion: number;
  intermediate: number;
}

function floatExperts(
  node: Node,
  slots: Slots,
  facts: GraphFacts,
  { count, isOutMajor, fusion, intermediate }: Layout,
): Expert[] | null {
  const linear = (weight: number, bias: number, expert: number, rows: RowPart): Linear | null =>
    stackedLinear(node, weight, bias, facts, expert, rows, isOutMajor);
  const gateRows = fusion === 0 ? null : { start: 0, step: fusion === 1 ? 2 : 1, count: intermediate };
  const upRows =
    fusion === 0
      ? whole
      : { start: fusion === 1 ? 1 : intermediate, step: fusion === 1 ? 2 : 1, count: intermediate };
  const hasThird = Boolean(node.inputs[slots.fc3]);
  const experts = Array.from({ length: count }, (_, index): Expert => ({
    id: '',
    index,
    kind: 'ffn',
    gate: hasThird
      ? linear(slots.fc1, slots.fc1Bias, index, whole)
      : gateRows && linear(slots.fc1, slots.fc1Bias, index, gateRows),
    up: hasThird
      ? linear(slots.fc3, slots.fc3 + 1, index, whole)
      : linear(slots.fc1, slots.fc1Bias, index, upRows),
    down: linear(slots.fc2, slots.fc2Bias, index, whole),
  }));
  return experts.every(({ up, down }) => up && down) ? experts : null;
}

/** Weights and biases, as far as they are stored. */
function storedViews(node: Node, slots: Slots, { shapes }: GraphFacts): StoredView[] {
  return Object.values(slots).flatMap((slot) => storedView(node.inputs[slot], shapes) ?? []);
}

function stackedLinear(
  node: Node,
  weightInput: number,
  biasInput: number,
  { shapes }: GraphFacts,
  expert: number,
  rows: RowPart,
  isOutMajor: boolean,
): Linear | null {
  const view = storedView(node.inputs[weightInput], shapes);
  if (!view || view.axes.length !== 3 || view.selector) return null;
  const [rowAxis, colAxis] = isOutMajor ? [1, 2] : [2, 1];
  const biasView = storedView(node.inputs[biasInput], shapes);
  const bias = biasView && { view: biasView, axis: 1, stackAxis: 0 };
  return linearRecord({ node, weightInput, view, rowAxis, colAxis, stackAxis: 0, bias }, expert, rows);
}

function fusedRouter(node: Node, probabilities: Value, experts: number, facts: GraphFacts): Router {
  const sources = linearSources(probabilities, facts);
  const linear = sources.find(({ out }) => out === experts) ?? null;
  const logits = linear?.output ?? aliasRoot(probabilities);
  return {
    linear: linear && linear.view.numbers === 'plain' ? linearRecord(linear, null) : null,
    experts,
    topK: node.int('k') ?? 1,
    scoring: fusedScoring(node),
    renormalized: false,
    bias: linear ? linear.bias !== null : aliasRoot(logits).producer?.opType === 'Add',
    logits,
  };
}

function fusedScoring(node: Node): Scoring {
  if (node.opType === 'QMoE' && node.inputs[14]) return scoringBehind(node.inputs[14]);
  if (node.int('use_sparse_mixer')) return 'sparsemixer';
  return node.int('normalize_routing_weights') ? 'topk-softmax' : 'softmax';
}

/** The scoring function behind mixing weights that the graph works out beside the fused operator. */
function scoringBehind(weights: Value): Scoring {
  const seen = new Set<Value>();
  const pending: Value[] = [weights];
  let softmax: Node | null = null;
  for (let value = pending.pop(); value && seen.size < 64; value = pending.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    const node = value.producer;
    if (node?.opType === 'Sigmoid') return 'sigmoid';
    if (node?.opType === 'Softmax') softmax = node;
    for (const input of node?.inputs ?? []) if (input) pending.push(input);
  }
  if (!softmax) return 'unknown';
  const source = softmax.inputs[0] && aliasRoot(softmax.inputs[0]).producer;
  return source?.opType === 'TopK' ? 'topk-softmax' : 'softmax';
}

function fusedActivation(node: Node, isSwiglu: boolean): Activation {
  const limit = node.float('swiglu_limit') ?? null;
  if (isSwiglu)
    return {
      name: 'silu',
      alpha: node.float('activation_alpha') ?? 1,
      limit: limit !== null && Number.isFinite(limit) ? limit : null,
      upOffset: node.float('activation_beta') ?? 0,
    };
  const names: Record<string, Activation['name']> = {
    relu: 'relu',
    silu: 'silu',
    gelu: 'gelu-tanh',
    identity: 'identity',
  };
  return {
    name: names[node.string('activation_type') ?? 'relu'] ?? 'unknown',
    alpha: 1,
    limit: null,
    upOffset: 0,
  };
}
