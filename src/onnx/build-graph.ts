import { Fault } from '../fault.ts';
import { Graph, readsOf } from './graph.ts';
import { inlineAttributeData, inlineSparseData } from './inline-data.ts';
import type { GraphProto, NodeProto } from './messages.ts';
import { Node } from './node.ts';
import type { TensorOrigin } from './tensor.ts';
import { openTensor } from './tensor.ts';
import { Value } from './value.ts';

/** Names to values; null for an optional input of a function that was left out. */
export type Scope = Map<string, Value | null>;

export interface BuildContext extends TensorOrigin {
  /** Gives values new unique names that start with this prefix; without it they keep the names of the message. */
  prefix?: string;
}

/**
 * Turns a decoded graph message into a {@link Graph}. Names that nothing defines occur in published files; they
 * become values without a producer and are listed in `graph.undefinedValues`.
 * @throws Fault ONNX_INVALID for duplicate names and for cycles
 */
export function buildGraph(
  proto: GraphProto,
  parent: Graph | null,
  context: BuildContext,
  outer: readonly Scope[] = [],
): Graph {
  const { node = [], input = [], output = [], initializer = [], valueInfo = [], ...rest } = proto;
  const graph = new Graph(proto.name ?? '', parent, rest);
  const scope: Scope = new Map();
  const define = definer(graph, scope, context);

  graph.inputs = input.map((info) => Object.assign(define(info.name), { info }));
  const inputs = new Set(graph.inputs);
  for (const tensor of initializer) {
    // Before IR 4 an initializer is also a graph input: a default value.
    const name = tensor.name ?? '';
    const known = scope.get(name);
    const value = known && inputs.delete(known) ? known : define(name);
    value.tensor = openTensor(tensor, context);
    graph.constants.add(value);
  }
  for (const sparse of rest.sparseInitializer ?? []) {
    const { name } = define(sparse.values?.name ?? '');
    inlineSparseData(sparse, context);
    if (sparse.values) sparse.values = { ...sparse.values, name };
  }
  const scopes = [scope, ...outer];
  addNodes(node, graph, scopes, context);
  graph.outputs = output.map((info) => {
    if (!info.name) throw invalid(context, 'an output has no name');
    const value = lookUp(info.name, graph, scopes) ?? undefinedValue(info.name, graph, scopes);
    value.info ??= info;
    return value;
  });
  for (const info of valueInfo) {
    const value = scope.get(info.name);
    if (value) value.info ??= info;
    else graph.keepInfo(info);
  }
  checkAcyclic(graph, context);
  return graph;
}

/** Appends nodes to a graph; what they make comes under its name into the innermost of `scopes`. */
export function addNodes(
  protos: readonly NodeProto[],
  graph: Graph,
  scopes: readonly Scope[],
  context: BuildContext,
): Node[] {
  const define = definer(graph, scopes[0], context);
  const nodes = protos.map((proto) => declareNode(proto, graph, define, context));
  nodes.forEach((node, index) => connectNode(node, protos[index], scopes, context));
  graph.nodes = graph.nodes.concat(nodes);
  return nodes;
}

type Define = (name: string) => Value;

function definer(graph: Graph, scope: Scope, context: BuildContext): Define {
  return (name) => {
    if (!name) throw invalid(context, 'a value has no name');
    const isNew = context.prefix === undefined ? graph.claimName(name) : !scope.has(name);
    if (!isNew) throw invalid(context, `the name ${name} is defined twice`);
    const value = new Value(
      context.prefix === undefined ? name : graph.uniqueName(`${context.prefix}/${name}`),
    );
    scope.set(name, value);
    return value;
  };
}

function declareNode(proto: NodeProto, graph: Graph, define: Define, context: BuildContext): Node {
  const { input: _input, output = [], attribute = [], ...rest } = proto;
  const names = new Set(attribute.map(({ name }) => name));
  if (names.size < attribute.length || attribute.some(({ name }) => !name))
    throw invalid(context, `the attributes of node ${proto.name || proto.opType} are not told apart by name`);
  return new Node(
    graph,
    rest,
    attribute,
    output.map((name) => (name === '' ? null : define(name))),
  );
}

function connectNode(node: Node, proto: NodeProto, scopes: readonly Scope[], context: BuildContext): void {
  (proto.input ?? []).forEach((name, index) => {
    node.setInput(index, name === '' ? null : lookUp(name, node.graph, scopes));
  });
  for (const [name, attribute] of node.attributes) {
    const graphs = attribute.g ? [attribute.g] : (attribute.graphs ?? []);
    if (attribute.t) node.tensors.set(name, openTensor(attribute.t, context));
    else if (graphs.length === 0) inlineAttributeData(attribute, context);
    if (graphs.length === 0) continue;
    node.addSubgraphs(
      name,
      graphs.map((graph) => buildGraph(graph, node.graph, context, scopes)),
    );
  }
}

function lookUp(name: string, graph: Graph, scopes: readonly Scope[]): Value | null {
  for (const scope of scopes) {
    const value = scope.get(name);
    if (value !== undefined) return value;
  }
  return undefinedValue(name, graph, scopes);
}

function undefinedValue(name: string, graph: Graph, scopes: readonly Scope[]): Value {
  const value = new Value(name);
  graph.claimName(name);
  graph.undefinedValues.push(value);
  scopes[0].set(name, value);
  return value;
}

function checkAcyclic(graph: Graph, origin: TensorOrigin): void {
  const position = new Map(graph.sortedNodes().map((node, index) => [node, index]));
  for (const node of graph.nodes) {
    for (const { producer } of readsOf(node)) {
      if (producer?.graph === graph && position.get(producer)! >= position.get(node)!) {
        throw invalid(origin, `node ${node.name || node.opType} depends on itself`);
      }
    }
  }
}

function invalid(origin: TensorOrigin, why: string): Fault {
  return new Fault({
    code: 'ONNX_INVALID',
    what: 'the graph of this model is invalid',
    where: origin.path,
    why,
    remedy: 'check the model with onnx.checker and export it again',
  });
}
