import { Fault } from '../fault.ts';
import { Graph, readsOf } from './graph.ts';
import { inlineAttributeData, inlineSparseData } from './inline-data.ts';
import type { GraphProto, NodeProto } from './messages.ts';
import { Node } from './node.ts';
import type { TensorOrigin } from './tensor.ts';
import { openTensor } from './tensor.ts';
import { Value } from './value.ts';

type Scope = Map<string, Value>;

/**
 * Turns a decoded graph message into a {@link Graph}. Names that nothing defines occur in published files; they
 * become values without a producer and are listed in `graph.undefinedValues`.
 * @throws Fault ONNX_INVALID for duplicate names and for cycles
 */
export function buildGraph(
  proto: GraphProto,
  parent: Graph | null,
  origin: TensorOrigin,
  outer: readonly Scope[] = [],
): Graph {
  const { node = [], input = [], output = [], initializer = [], valueInfo = [], ...rest } = proto;
  const graph = new Graph(proto.name ?? '', parent, rest);
  const scope: Scope = new Map();
  const define = (name: string): Value => {
    if (!graph.claimName(name)) throw invalid(origin, `the name ${name} is defined twice`);
    const value = new Value(name);
    scope.set(name, value);
    return value;
  };

  graph.inputs = input.map((info) => Object.assign(define(info.name), { info }));
  const inputs = new Set(graph.inputs);
  for (const tensor of initializer) {
    // Before IR 4 an initializer is also a graph input: a default value.
    const name = tensor.name ?? '';
    const known = scope.get(name);
    const value = known && inputs.delete(known) ? known : define(name);
    value.tensor = openTensor(tensor, origin);
    graph.constants.add(value);
  }
  for (const sparse of rest.sparseInitializer ?? []) {
    define(sparse.values?.name ?? '');
    inlineSparseData(sparse, origin);
  }
  graph.nodes = node.map((each) => declareNode(each, graph, define, origin));
  const scopes = [scope, ...outer];
  graph.nodes.forEach((each, index) => connectNode(each, node[index], graph, scopes, origin));
  graph.outputs = output.map((info) => {
    const value = lookUp(info.name, graph, scopes);
    value.info ??= info;
    return value;
  });
  for (const info of valueInfo) {
    const value = scope.get(info.name);
    if (value) value.info ??= info;
    else graph.keepInfo(info);
  }
  checkAcyclic(graph, origin);
  return graph;
}

function declareNode(
  proto: NodeProto,
  graph: Graph,
  define: (name: string) => Value,
  origin: TensorOrigin,
): Node {
  const { input: _input, output = [], attribute = [], ...rest } = proto;
  const names = new Set(attribute.map(({ name }) => name));
  if (names.size < attribute.length)
    throw invalid(origin, `node ${proto.name || proto.opType} has two attributes of one name`);
  return new Node(
    graph,
    rest,
    attribute,
    output.map((name) => (name === '' ? null : define(name))),
  );
}

function connectNode(
  node: Node,
  proto: NodeProto,
  graph: Graph,
  scopes: readonly Scope[],
  origin: TensorOrigin,
): void {
  (proto.input ?? []).forEach((name, index) => {
    node.setInput(index, name === '' ? null : lookUp(name, graph, scopes));
  });
  for (const [name, attribute] of node.attributes) {
    const graphs = attribute.g ? [attribute.g] : (attribute.graphs ?? []);
    if (attribute.t) node.tensors.set(name, openTensor(attribute.t, origin));
    else if (graphs.length === 0) inlineAttributeData(attribute, origin);
    if (graphs.length === 0) continue;
    node.addSubgraphs(
      name,
      graphs.map((graph) => buildGraph(graph, node.graph, origin, scopes)),
    );
  }
}

function lookUp(name: string, graph: Graph, scopes: readonly Scope[]): Value {
  for (const scope of scopes) {
    const value = scope.get(name);
    if (value) return value;
  }
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
