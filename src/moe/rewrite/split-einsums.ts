import type { Graph } from '../../onnx/graph.ts';
import type { AttributeProto } from '../../onnx/messages.ts';
import { attributeType } from '../../onnx/messages.ts';
import type { Node } from '../../onnx/node.ts';
import { isConstant } from '../graph/constant.ts';
import type { Equation } from '../graph/einsum.ts';
import { equationOf } from '../graph/einsum.ts';

/**
 * Writes every Einsum of three operands of which one is a constant as two: first what the constant multiplies, then what
 * weighs the product, e.g. `te,tef,efh->th` as `tef,efh->teh` and `teh,te->th`. The graph computes the same afterwards.
 * Returns how many there were.
 */
export function splitEinsums(graph: Graph): number {
  const split = new Set<Node>();
  for (const node of graph.nodes) {
    const equation = node.opType === 'Einsum' ? equationOf(node) : null;
    const pair = equation?.operands.length === 3 ? pairOf(node, equation) : null;
    if (!equation || !pair) continue;
    splitInTwo(graph, node, equation, pair);
    split.add(node);
  }
  graph.nodes = graph.nodes.filter((node) => !split.has(node));
  for (const node of split) node.detach();
  return split.size;
}

interface Pair {
  weight: number;
  data: number;
  other: number;
}

/** The one constant, and the operand that it is summed over furthest back: experts are numbered by the axes before. */
function pairOf({ inputs }: Node, { operands, output }: Equation): Pair | null {
  const [weight, ...more] = inputs.flatMap((input, at) => (isConstant(input) ? [at] : []));
  if (weight === undefined || more.length > 0) return null;
  const others = [0, 1, 2].filter((at) => at !== weight);
  const last = operands[weight].findLast(
    (label) => !output.includes(label) && others.some((at) => operands[at].includes(label)),
  );
  const [data, ...rest] = others.filter((at) => last !== undefined && operands[at].includes(last));
  if (data === undefined || rest.length > 0) return null;
  return { weight, data, other: others.find((at) => at !== data)! };
}

function splitInTwo(
  graph: Graph,
  { inputs, name, outputs }: Node,
  { operands, output }: Equation,
  { weight, data, other }: Pair,
): void {
  const needed = new Set([...output, ...operands[other]]);
  const product = [...new Set([...operands[data], ...operands[weight]])].filter((label) => needed.has(label));
  const [first] = graph.addNode('Einsum', [inputs[data], inputs[weight]], {
    name: `${name}/product`,
    attributes: [equation(operands[data], operands[weight], product)],
  }).outputs;
  const [second] = graph.addNode('Einsum', [first, inputs[other]], {
    name,
    attributes: [equation(product, operands[other], output)],
  }).outputs;
  graph.replaceAllUses(outputs[0]!, second!);
}

function equation(left: string[], right: string[], result: string[]): AttributeProto {
  const text = `${left.join('')},${right.join('')}->${result.join('')}`;
  return { name: 'equation', type: attributeType.string, s: new TextEncoder().encode(text) };
}
