import { Graph, readsOf } from './graph.ts';
import type { ValueInfoProto } from './messages.ts';
import type { Model } from './model.ts';
import { Node } from './node.ts';
import { Value } from './value.ts';

/**
 * Copies into `target` the nodes that compute `outputs` in another graph, and returns the copies of `outputs`.
 * `bindings` maps values of the other graph to values of `target` that take their place; what lies behind them is
 * not copied. Everything unbound is copied, constants by reference to their stored bytes. Names get `prefix`.
 */
export function graft(
  target: Graph,
  outputs: readonly Value[],
  bindings: ReadonlyMap<Value, Value>,
  prefix: string,
): Value[] {
  const copier: Copier = { root: target, copies: new Map(bindings), prefix };
  for (const node of nodesBehind(outputs, bindings)) copyNode(copier, node, target);
  return outputs.map((value) => copyOf(copier, value));
}

/**
 * Brings the constants of another graph over, to be used as `bindings` of several grafts that are to share them. What
 * nothing reads in the end is left to `removeDeadCode`.
 */
export function graftConstants(target: Graph, source: Graph, prefix: string): Map<Value, Value> {
  const copier: Copier = { root: target, copies: new Map(), prefix };
  for (const value of source.constants) copyConstant(copier, value, target);
  return copier.copies;
}

interface Copier {
  root: Graph;
  copies: Map<Value, Value>;
  prefix: string;
}

/** Nodes that compute `outputs`, each after those it reads from, up to the bound values. */
function nodesBehind(outputs: readonly Value[], bindings: ReadonlyMap<Value, Value>): Node[] {
  const order: Node[] = [];
  const done = new Set<Node>();
  const producersOf = (values: readonly Value[]): Node[] =>
    values.filter((value) => !bindings.has(value) && value.producer).map((value) => value.producer!);
  const stack = producersOf(outputs).map((node) => ({ node, next: producersOf(readsOf(node)) }));
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const dependency = done.has(top.node) ? undefined : top.next.pop();
    if (dependency) {
      if (!done.has(dependency) && dependency.graph === top.node.graph) {
        stack.push({ node: dependency, next: producersOf(readsOf(dependency)) });
      }
      continue;
    }
    stack.pop();
    if (done.has(top.node)) continue;
    done.add(top.node);
    order.push(top.node);
  }
  return order;
}

function copyNode(copier: Copier, node: Node, target: Graph): void {
  const outputs = node.outputs.map((value) => value && declare(copier, value, target, true));
  // ONNX Runtime wants names to differ, unless there are none.
  const name = node.name && copier.prefix + node.name;
  const copy = new Node(target, { ...node.proto, name }, [...node.attributes.values()], outputs);
  for (const [key, tensor] of node.tensors) copy.tensors.set(key, tensor);
  node.inputs.forEach((value, index) => copy.setInput(index, value && copyOf(copier, value)));
  for (const [key, graphs] of node.subgraphs) {
    copy.addSubgraphs(
      key,
      graphs.map((graph) => copyGraph(copier, graph, target)),
    );
  }
  target.nodes.push(copy);
}

function copyGraph(copier: Copier, graph: Graph, parent: Graph): Graph {
  const inner = new Graph(graph.name, parent, graph.proto);
  inner.inputs = graph.inputs.map((value) => declare(copier, value, inner, true));
  for (const value of graph.constants) copyConstant(copier, value, inner);
  for (const node of graph.sortedNodes()) copyNode(copier, node, inner);
  inner.outputs = graph.outputs.map((value) => copyOf(copier, value));
  return inner;
}

/** The copy of a value; what no copied node makes (constants, graph inputs) is brought over when first read. */
function copyOf(copier: Copier, value: Value): Value {
  const known = copier.copies.get(value);
  if (known) return known;
  if (value.tensor) return copyConstant(copier, value, copier.root);
  const input = declare(copier, value, copier.root);
  copier.root.inputs.push(input);
  return input;
}

function copyConstant(copier: Copier, value: Value, target: Graph): Value {
  const copy = declare(copier, value, target);
  const { proto, source } = value.tensor!;
  copy.tensor = { proto: { ...proto, name: copy.name }, source };
  target.constants.add(copy);
  return copy;
}

function declare({ copies, prefix }: Copier, value: Value, target: Graph, isMade = false): Value {
  const info = isMade ? withOwnDims(value.info, prefix) : value.info;
  const copy = new Value(target.uniqueName(prefix + value.name), info);
  copies.set(value, copy);
  return copy;
}

/**
 * A declaration whose dimensions have names of their own: a size that depends on data is another one in the copy, and
 * ONNX Runtime takes buffers of dimensions of one name for equally large.
 */
function withOwnDims(info: ValueInfoProto | undefined, prefix: string): ValueInfoProto | undefined {
  const tensorType = info?.type?.tensorType;
  const declared = tensorType?.shape?.dim;
  if (!info || !declared) return info;
  const dim = declared.map((each) =>
    each.dimParam === undefined ? each : { dimParam: prefix + each.dimParam },
  );
  return { ...info, type: { ...info.type, tensorType: { ...tensorType, shape: { dim } } } };
}

/**
 * The part of a model that computes `outputs` from `cuts` and from graph inputs, as a model of its own; the given one
 * stays as it is. Every cut value becomes a graph input of the same name. Weights are shared by reference.
 * Outputs keep their names.
 */
export function extractModel(model: Model, outputs: readonly Value[], cuts: readonly Value[]): Model {
  const graph = new Graph(model.graph.name);
  const bindings = new Map(
    [...model.graph.inputs, ...cuts].map((value) => [
      value,
      new Value(graph.uniqueName(value.name), value.info),
    ]),
  );
  graph.outputs = graft(graph, outputs, bindings, '');
  graph.inputs = [...bindings.values()].filter(({ uses }) => uses.length > 0);
  return { ...model, graph };
}
