import type { DataType } from '../tensor/dtype.ts';
import { codeOf } from '../tensor/dtype.ts';
import { Fault } from '../fault.ts';
import { Graph } from './graph.ts';
import type { ValueInfoProto } from './messages.ts';
import type { Model } from './model.ts';
import { newModel } from './model.ts';
import { Node } from './node.ts';
import { Value } from './value.ts';

/**
 * A new model that computes `outputs` from `inputs`, which keep their names. Values inside subgraphs may be asked
 * for; what they read from the graphs around them comes along. Weights are shared, not copied.
 * @param types element types of inputs that the file does not declare
 * @throws Fault EXTRACT_OPEN if an output depends on something that is neither constant nor among `inputs`;
 *   EXTRACT_UNTYPED if the type of an input is unknown
 */
export function extractSubgraph(
  model: Model,
  inputs: readonly Value[],
  outputs: readonly Value[],
  types: ReadonlyMap<Value, DataType> = new Map(),
): Model {
  const graph = new Graph(model.graph.name);
  const copies = new Map<Value, Value>();
  const copy = (value: Value, info = value.info): Value => {
    const made = new Value(graph.uniqueName(value.name), info);
    copies.set(value, made);
    return made;
  };
  graph.inputs = inputs.map((value) => copy(value, typedInfo(value, types)));
  const wanted = new Set(outputs.filter((value) => !copies.has(value)));
  for (const value of wanted) copy(value);
  const nodes = producersOf(wanted, new Set(inputs));
  for (const value of constantsOf(nodes, wanted)) {
    const made = copies.get(value) ?? copy(value);
    made.tensor = value.tensor;
    graph.constants.add(made);
  }
  for (const node of nodes) {
    for (const output of node.outputs) if (output && !copies.has(output)) copy(output);
  }
  graph.nodes = nodes.map((node) => copyNode(node, graph, copies));
  graph.outputs = outputs.map((value) => copies.get(value)!);
  const extracted = newModel(graph, Object.fromEntries(model.opsets), model.irVersion, model.path);
  return { ...extracted, functions: model.functions };
}

/**
 * Makes inner values outputs of a model, so that a run returns them.
 * @throws Fault EXTRACT_OPEN for values inside subgraphs
 */
export function addOutputs(model: Model, values: readonly Value[]): void {
  const { graph } = model;
  const present = new Set(graph.outputs);
  for (const value of values) {
    if (value.producer && value.producer.graph !== graph) throw open(value, 'it lies in a subgraph');
    if (!present.has(value)) graph.outputs.push(value);
    present.add(value);
  }
}

/** Nodes that `values` depend on, up to `inputs`. */
function producersOf(values: Iterable<Value>, inputs: ReadonlySet<Value>): Node[] {
  const nodes = new Set<Node>();
  const seen = new Set(inputs);
  const pending = [...values];
  for (let value = pending.pop(); value; value = pending.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    if (value.tensor) continue;
    if (!value.producer) throw open(value, 'it is an input of its graph, or nothing defines it');
    nodes.add(value.producer);
    pending.push(...outerReads(value.producer));
  }
  return [...nodes].toReversed();
}

/** What a node reads, without what its own subgraphs define. */
function outerReads(node: Node): Value[] {
  const inner = [...node.subgraphs.values()].flat();
  const defined = new Set(inner.flatMap(definedIn));
  const read = inner.flatMap((graph) => [...graph.nodes.flatMap(outerReads), ...graph.outputs]);
  return [...node.inputs, ...read].filter((value): value is Value => value !== null && !defined.has(value));
}

function definedIn(graph: Graph): Value[] {
  const made = graph.nodes.flatMap((node) => node.outputs).filter((value) => value !== null);
  return [...graph.inputs, ...graph.constants, ...made];
}

function constantsOf(nodes: readonly Node[], wanted: Iterable<Value>): Set<Value> {
  return new Set([...nodes.flatMap(outerReads), ...wanted].filter((value) => value.tensor));
}

function copyNode(node: Node, graph: Graph, copies: Map<Value, Value>): Node {
  const outputs = node.outputs.map((value) => value && copies.get(value)!);
  const made = new Node(graph, { ...node.proto }, [...node.attributes.values()], outputs);
  node.inputs.forEach((value, index) => made.setInput(index, value && copies.get(value)!));
  for (const [name, tensor] of node.tensors) made.tensors.set(name, tensor);
  for (const [name, graphs] of node.subgraphs) {
    made.addSubgraphs(
      name,
      graphs.map((each) => copyGraph(each, graph, copies)),
    );
  }
  return made;
}

function copyGraph(graph: Graph, parent: Graph, copies: Map<Value, Value>): Graph {
  const made = new Graph(graph.name, parent, graph.proto);
  for (const value of definedIn(graph)) {
    const inner = new Value(made.uniqueName(value.name), value.info);
    inner.tensor = value.tensor;
    copies.set(value, inner);
  }
  const copyOf = (value: Value): Value => copies.get(value)!;
  made.inputs = graph.inputs.map(copyOf);
  for (const value of graph.constants) made.constants.add(copyOf(value));
  made.nodes = graph.nodes.map((node) => copyNode(node, made, copies));
  made.outputs = graph.outputs.map(copyOf);
  return made;
}

function typedInfo(value: Value, types: ReadonlyMap<Value, DataType>): ValueInfoProto {
  const dtype = value.dtype ?? types.get(value);
  if (value.info?.type) return value.info;
  if (dtype) return { name: value.name, type: { tensorType: { elemType: codeOf(dtype) } } };
  throw new Fault({
    code: 'EXTRACT_UNTYPED',
    what: `the element type of ${value.name} is unknown`,
    remedy: 'export the model with value_info, or run shape inference on it',
  });
}

function open(value: Value, why: string): Fault {
  return new Fault({
    code: 'EXTRACT_OPEN',
    what: 'this part of the graph cannot stand alone',
    where: `value ${value.name}`,
    why,
    remedy: 'cut the graph at values of the main graph',
  });
}
