import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasRoot, layoutOps, shapeOps } from '../graph/operators.ts';
import { storedView } from '../graph/stored-view.ts';
import type { Norm } from '../moe-layer.ts';

/** Operators that pick tokens. */
const selectingOps = new Set(['Gather', 'GatherND', 'Slice', 'Split']);

const fusedNorms = new Map(
  Object.entries({
    LayerNormalization: 'LayerNorm',
    SkipLayerNormalization: 'LayerNorm',
    SimplifiedLayerNormalization: 'RMSNorm',
    SkipSimplifiedLayerNormalization: 'RMSNorm',
    RMSNormalization: 'RMSNorm',
  }),
);

/**
 * The normalization that makes a layer's input, whether one operator or written out. `known` are the nodes that read
 * the input as linears of this layer with plain weights; any other reader forbids folding.
 */
export function normOf(x: Value, known: ReadonlySet<Node>, facts: GraphFacts): Norm | null {
  const found = fusedNorm(x, facts) ?? writtenNorm(x, facts);
  if (!found) return null;
  const { readers, others } = readersOf(x, known, facts);
  const reason = foldProblem(found, others, facts);
  return { ...found, readers, foldable: reason === '', reason };
}

type Found = Omit<Norm, 'readers' | 'foldable' | 'reason'>;
type Parameter = Norm['scale'];

function fusedNorm(x: Value, facts: GraphFacts): Found | null {
  const node = x.producer;
  const op = node && fusedNorms.get(node.opType);
  if (!op || node.outputs[0] !== x) return null;
  const isSkip = node.opType.startsWith('Skip');
  const first = isSkip ? 2 : 1;
  // A Skip norm adds first; the sum is its input where it is given out.
  const input = isSkip ? (node.outputs[3] ?? node.inputs[0]!) : node.inputs[0]!;
  const hasBias = op === 'LayerNorm';
  return {
    op,
    input,
    output: x,
    scale: parameterAt(node, first, facts),
    bias: hasBias && node.inputs[first + 1] ? parameterAt(node, first + 1, facts) : null,
  };
}

/** x = [bias +] [scale ·] (normalized), where the normalized part ends in a root of a mean of squares. */
function writtenNorm(x: Value, facts: GraphFacts): Found | null {
  const outer = x.producer;
  const biasInput = outer?.opType === 'Add' ? parameterInput(outer, facts) : null;
  const product = biasInput === null ? x : aliasRoot(outer!.inputs[1 - biasInput]!);
  const node = product.producer;
  if (node?.opType !== 'Mul' && node?.opType !== 'Div') return null;
  const scaleInput = node.opType === 'Mul' ? parameterInput(node, facts) : null;
  const normalized = scaleInput === null ? product : aliasRoot(node.inputs[1 - scaleInput]!);
  const core = normalizedInput(normalized);
  if (!core) return null;
  return {
    op: core.isCentred ? 'LayerNorm' : 'RMSNorm',
    input: core.input,
    output: x,
    scale: scaleInput === null ? null : parameterAt(node, scaleInput, facts),
    bias: biasInput === null ? null : parameterAt(outer!, biasInput, facts),
  };
}

function parameterInput(node: Node, { shapes }: GraphFacts): number | null {
  const at = node.inputs.findIndex((input) => {
    const view = storedView(input, shapes);
    return view !== null && view.axes.some(({ size }) => size !== 1);
  });
  return at < 0 ? null : at;
}

function parameterAt(node: Node, input: number, { shapes }: GraphFacts): Parameter {
  const view = storedView(node.inputs[input], shapes);
  const axis = view?.axes.findLastIndex(({ size, stride }) => size !== 1 && stride !== null) ?? -1;
  if (!view || axis < 0) return null;
  const { size, stride } = view.axes[axis];
  const vector = {
    source: view.source,
    rows: 1,
    cols: size!,
    offset: view.offset,
    rowStride: size! * stride!,
    colStride: stride!,
  };
  return { name: view.name, view: vector, node, input };
}

/** For h / sqrt(mean(h²)) in any spelling: h, and whether the mean was taken off first. */
function normalizedInput(normalized: Value): { input: Value; isCentred: boolean } | null {
  const node = normalized.producer;
  if (node?.opType !== 'Mul' && node?.opType !== 'Div') return null;
  for (const at of node.opType === 'Div' ? [1] : [0, 1]) {
    const factor = node.inputs[at];
    const data = node.inputs[1 - at];
    if (!factor || !data || !endsInRoot(factor)) continue;
    const root = aliasRoot(data);
    const isCentred = root.producer?.opType === 'Sub';
    return { input: isCentred ? aliasRoot(root.producer!.inputs[0]!) : root, isCentred };
  }
  return null;
}

function endsInRoot(factor: Value): boolean {
  let node = factor.producer;
  let hasRoot = false;
  for (let hops = 0; node && hops < 10; hops++) {
    hasRoot ||= node.opType === 'Sqrt' || node.opType === 'Pow';
    if (node.opType === 'ReduceMean') return hasRoot;
    if (!['Sqrt', 'Reciprocal', 'Div', 'Add', 'Cast', 'Pow', 'Identity', 'Max', 'Clip'].includes(node.opType))
      return false;
    const next: Node | null =
      node.inputs
        .map((input) => input?.producer ?? null)
        .find((each) => each && each.opType !== 'Constant') ?? null;
    node = next;
  }
  return false;
}

/** What reads a norm's output, behind anything that only moves it: linears that are known, and everything else. */
function readersOf(
  x: Value,
  known: ReadonlySet<Node>,
  { graph }: GraphFacts,
): { readers: Set<Node>; others: Node[] } {
  const readers = new Set<Node>();
  const others: Node[] = [];
  const pending: Value[] = [x];
  for (const value of pending) {
    for (const { node, index } of value.uses) {
      if (shapeOps.has(node.opType)) continue;
      const [alias] = node.outputs;
      const moves = layoutOps.has(node.opType) || selectingOps.has(node.opType);
      if (known.has(node)) readers.add(node);
      else if (moves && index === 0 && alias && !graph.outputs.includes(alias)) pending.push(alias);
      else others.push(node);
    }
  }
  return { readers, others };
}

function foldProblem({ scale, bias, output }: Found, [other]: readonly Node[], facts: GraphFacts): string {
  if (!scale) return 'the norm has no stored scale of its own';
  if (facts.graph.outputs.includes(output)) return 'its output is an output of the model';
  if (other)
    return `${other.name || other.opType} reads the norm's output and is no plain linear of this layer`;
  const isShared = [scale, bias].some((parameter) => parameter && isRead(parameter, facts));
  return isShared ? 'its parameters are read elsewhere too' : '';
}

function isRead(parameter: NonNullable<Parameter>, facts: GraphFacts): boolean {
  return (storedView(parameter.node.inputs[parameter.input], facts.shapes)?.root.uses.length ?? 0) > 1;
}
