import { builder } from '../../onnx/build.ts';
import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { isConstant, isZero, scalarOf } from '../graph/constant.ts';
import { dataUses } from '../graph/data-uses.ts';
import { aliasRoot, isScatter } from '../graph/operators.ts';

/**
 * Adds last what a sum over experts is begun on (a shared expert's output, that of a base layer, the tokens themselves), so
 * that the sum is a value of its own: `((base + a) + b) + c` becomes `base + ((a + b) + c)`. What is added are scattered rows,
 * or outputs of linears times something. The graph computes the same afterwards, up to rounding. Returns how many there were.
 */
export function partSums(graph: Graph): number {
  const sums = graph.nodes.flatMap((node) => {
    const first = stepAt(node);
    const steps = first && isBegin(first) ? stepsFrom(first, graph) : [];
    return steps.length > (node.opType === 'Add' ? 1 : 0) ? [steps] : [];
  });
  for (const steps of sums) part(graph, steps);
  return sums.length;
}

/** One addition to a sum: what is added, and which input of the node is the sum so far. */
interface Step {
  node: Node;
  at: number;
  kind: 'rows' | 'product';
}

function stepAt(node: Node): Step | null {
  const [left, right] = node.inputs;
  if (isScatter(node)) return node.string('reduction') === 'add' ? { node, at: 0, kind: 'rows' } : null;
  if (node.opType !== 'Add' || !left || !right) return null;
  const [first, second] = [kindOf(left), kindOf(right)];
  if (second) return { node, at: 0, kind: second };
  return first && { node, at: 1, kind: first };
}

/** Whether a step adds to something that is no part of a sum of its kind. */
function isBegin({ node, at, kind }: Step): boolean {
  const base = node.inputs[at]!;
  const isPart = kindOf(base) === kind || (base.producer && stepAt(base.producer)?.kind === kind);
  return !isPart && !isZero(base);
}

function stepsFrom(first: Step, graph: Graph): Step[] {
  const steps = [first];
  for (const { node } of steps) {
    const [sum] = node.outputs;
    const [use, ...others] = dataUses(sum!);
    const isPassedOn = use?.node.graph === graph && others.length === 0 && !graph.outputs.includes(sum!);
    const next = isPassedOn ? stepAt(use.node) : null;
    if (next?.kind === first.kind && next.at === use.index) steps.push(next);
  }
  return steps;
}

function part(graph: Graph, steps: readonly Step[]): void {
  const { node, at } = steps[0];
  const base = node.inputs[at]!;
  const [sum] = steps.at(-1)!.node.outputs;
  const last = graph.addNode('Add', [base, base], { name: `${node.name || node.opType}/base` });
  graph.replaceAllUses(sum!, last.outputs[0]!);
  last.setInput(1, sum);
  if (isScatter(node)) node.setInput(0, zerosLike(graph, base));
  else dropFirst(graph, node, node.inputs[1 - at]!);
}

/** Lets a sum begin on what was first added to its base. */
function dropFirst(graph: Graph, node: Node, added: Value): void {
  graph.replaceAllUses(node.outputs[0]!, added);
  graph.nodes = graph.nodes.filter((each) => each !== node);
  node.detach();
}

function zerosLike(graph: Graph, base: Value): Value {
  const b = builder(graph, base.name);
  return b.op('CastLike', [b.op('ConstantOfShape', [b.op('Shape', [base])]), base]);
}

function kindOf(value: Value): Step['kind'] | null {
  const node = aliasRoot(value).producer;
  if (node && isScatter(node)) return isZero(node.inputs[0]!) ? 'rows' : null;
  const factor = node && scaled(node);
  return (factor ? kindOf(factor) === 'product' : node?.opType === 'Mul' && node.inputs.some(isLinear))
    ? 'product'
    : null;
}

const linearOps = new Set(['MatMul', 'Gemm', 'FusedMatMul', 'FusedGemm']);

/** The output of a linear, with its bias and whatever number it is multiplied by. */
function isLinear(value: Value | null): boolean {
  const node = value && aliasRoot(value).producer;
  if (!node || linearOps.has(node.opType)) return node !== null;
  const biased = node.opType === 'Add' ? node.inputs.find((input) => !isConstant(input)) : null;
  return isLinear(biased ?? scaled(node));
}

/** What a node multiplies by a number; null for any other node. */
function scaled({ opType, inputs }: Node): Value | null {
  const [value, ...others] = opType === 'Mul' ? inputs.filter((input) => scalarOf(input) === null) : [];
  return value && others.length === 0 ? value : null;
}
