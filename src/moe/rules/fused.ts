import type { Node } from '../../onnx/node.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { RowPart } from '../graph/linear-node.ts';
import { linearRecord, maxStack, whole } from '../graph/linear-node.ts';
import { aliasRoot } from '../graph/operators.ts';
import { numbersProblem, storedView } from '../graph/stored-view.ts';
import type { Activation, Expert, Linear, MoeLayer, Routing } from '../moe-layer.ts';
import { fusedRouter } from './fused-router.ts';
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
  const [input, probabilities] = node.inputs;
  const [output] = node.outputs;
  const layout = layoutOf(node, facts);
  if (!input || !probabilities || !output || !layout) return null;
  const { count, hidden, intermediate, isGated } = layout;
  const experts = layout.isPacked ? null : floatExperts(node, layout, facts);
  const activation = fusedActivation(node, layout.isSwiglu);
  const reason = layout.isPacked
    ? 'it is quantized already (QMoE)'
    : floatProblems(node, experts, activation, facts).join('; ');
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
    experts: experts ?? unreadExperts(count),
    hidden,
    intermediate,
    gated: isGated,
    activation,
    shared: null,
    norm: normOf(aliasRoot(input), new Set([node, ...(router.linear ? [router.linear.node] : [])]), facts),
    boundary: reason === '' ? { input, output, routing } : null,
    complete: true,
    quantizable: reason === '',
    reason,
    warnings:
      isGated === layout.isSwiglu || layout.hasThird ? [] : ['the gate of its SwiGLU experts was not found'],
  };
}

/** Sizes of the experts, and how their weights lie in the inputs of the operator. */
interface Layout {
  isPacked: boolean;
  slots: Slots;
  count: number;
  hidden: number;
  intermediate: number;
  /** Weights are [experts, out, in] since 2025 and were [experts, in, out] before. */
  isOutMajor: boolean;
  isSwiglu: boolean;
  isGated: boolean;
  /** Gate and up are weights of their own. */
  hasThird: boolean;
  /** swiglu_fusion: 1 interleaved rows, 2 halves, 0 no gate in fc1. */
  fusion: number;
}

function layoutOf(node: Node, { shapes }: GraphFacts): Layout | null {
  const isPacked = node.opType === 'QMoE';
  const slots = isPacked ? packedSlots : floatSlots;
  const fc1 = shapes.shapeOf(node.inputs[slots.fc1]);
  const fc2 = shapes.shapeOf(node.inputs[slots.fc2]);
  if (fc1?.length !== 3 || fc2?.length !== 3 || fc1[0]! > maxStack) return null;
  const [count, rows, columns] = fc1;
  const inner = columns! * (isPacked ? 8 / (node.int('expert_weight_bits') ?? 4) : 1);
  const hidden = shapes.shapeOf(node.inputs[0])?.at(-1) ?? inner;
  const isOutMajor = inner === hidden;
  const width = isOutMajor ? rows! : inner;
  const fusion = node.int('swiglu_fusion') ?? 0;
  const isSwiglu = node.string('activation_type') === 'swiglu' || (isPacked && fusion !== 0);
  const hasThird = Boolean(node.inputs[slots.fc3]);
  const isHalved = isSwiglu && fusion > 0 && !hasThird;
  return {
    isPacked,
    slots,
    count: count!,
    hidden,
    intermediate: isHalved ? width / 2 : width,
    isOutMajor,
    isSwiglu,
    isGated: isHalved || hasThird,
    hasThird,
    fusion: isHalved ? fusion : 0,
  };
}

/** What stands against writing the experts of a float operator anew. */
function floatProblems(
  node: Node,
  experts: readonly Expert[] | null,
  { name }: Activation,
  { shapes }: GraphFacts,
): string[] {
  const views = Object.values(floatSlots).flatMap((slot) => storedView(node.inputs[slot], shapes) ?? []);
  const problems = [
    !experts && 'its expert weights are not stored in the file',
    numbersProblem(views),
    node.inputs[floatSlots.fc3] && 'the third weight of a fused MoE is not run by ONNX Runtime on CPU',
    node.int('use_sparse_mixer') && 'its sparse mixer runs only inside the fused operator',
    name === 'unknown' && `its function ${node.string('activation_type')} is not a known activation`,
  ];
  return problems.filter((problem) => typeof problem === 'string');
}

function unreadExperts(count: number): Expert[] {
  return Array.from({ length: count }, (_, index) => ({
    id: '',
    index,
    kind: 'ffn',
    gate: null,
    up: null,
    down: null,
  }));
}

function floatExperts(
  node: Node,
  { slots, count, isOutMajor, fusion, intermediate, hasThird }: Layout,
  facts: GraphFacts,
): Expert[] | null {
  const linear = (weight: number, bias: number, expert: number, rows: RowPart): Linear | null =>
    stackedLinear(node, weight, bias, facts, expert, rows, isOutMajor);
  const step = fusion === 1 ? 2 : 1;
  const gateRows = fusion === 0 ? null : { start: 0, step, count: intermediate };
  const upRows = fusion === 0 ? whole : { start: fusion === 1 ? 1 : intermediate, step, count: intermediate };
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
