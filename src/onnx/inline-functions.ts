import { Fault } from '../fault.ts';
import { memorySource } from '../tensor/source.ts';
import type { Scope } from './build-graph.ts';
import { addNodes } from './build-graph.ts';
import type { Graph } from './graph.ts';
import type { AttributeProto, FunctionProto, GraphProto, NodeProto } from './messages.ts';
import type { Model } from './model.ts';
import { domainOf } from './model.ts';
import type { Node } from './node.ts';
import { wholeTensor } from './tensor.ts';

/** More nodes than this come from functions that call each other to fill memory. */
const nodeLimit = 1_000_000;

type Functions = ReadonlyMap<string, FunctionProto>;

/**
 * Replaces every call of a model-local function by its body, in subgraphs and nested functions too. Operators that
 * `keep` accepts stay calls (fused operators that ship a body), as do the functions they need.
 * @returns how many calls were replaced
 * @throws Fault FUNCTION_RECURSION, FUNCTION_OPSET, FUNCTION_TOO_LARGE, FUNCTION_UNSUPPORTED
 */
export function inlineFunctions(model: Model, keep: (body: FunctionProto) => boolean = () => false): number {
  const all: Functions = new Map(model.functions.map((body) => [keyOf(body.name, body), body]));
  const functions: Functions = new Map([...all].filter(([, body]) => !keep(body)));
  checkSize(model, functions);
  const count = inlineInGraph(model, model.graph, functions);
  const kept = [...all].filter(([key]) => !functions.has(key)).map(([, body]) => body);
  model.functions = [...reachable(kept, all)];
  return count;
}

/** The function a node calls, if it calls one. */
function keyOf(name = '', { domain = '', overload = '' }: { domain?: string; overload?: string }): string {
  return JSON.stringify([domainOf({ domain }), name, overload]);
}

function inlineInGraph(model: Model, graph: Graph, functions: Functions): number {
  const replaced = new Set<Node>();
  // Bodies are appended, so that this loop reaches the calls in them too.
  for (let index = 0; index < graph.nodes.length; index++) {
    const node = graph.nodes[index];
    const body = functions.get(keyOf(node.opType, node.proto));
    if (!body) continue;
    expand(model, node, body);
    replaced.add(node);
  }
  graph.nodes = graph.nodes.filter((node) => !replaced.has(node));
  const inner = graph.nodes.flatMap(({ innerGraphs }) => innerGraphs);
  return inner.reduce((sum, each) => sum + inlineInGraph(model, each, functions), replaced.size);
}

function expand(model: Model, call: Node, body: FunctionProto): void {
  adoptOpsets(model, body);
  const { graph } = call;
  const scope: Scope = new Map((body.input ?? []).map((name, index) => [name, call.inputs[index] ?? null]));
  const given = givenAttributes(call, body);
  const nodes = (body.node ?? []).map((node) => bindNode(node, given));
  const context = {
    path: model.path,
    file: memorySource(new Uint8Array(0)),
    prefix: call.name || call.opType,
  };
  addNodes(nodes, graph, [scope], context);
  for (const info of body.valueInfo ?? []) {
    const value = scope.get(info.name);
    if (value) value.info ??= info;
  }
  (body.output ?? []).forEach((name, index) => {
    const from = call.outputs[index];
    const to = scope.get(name);
    if (!from) return;
    if (!to) throw unsupported(call, `the function does not compute its output ${name}`);
    const isNew = !graph.outputs.includes(from) && !call.inputs.includes(to);
    graph.replaceAllUses(from, to);
    to.info ??= from.info;
    // The result keeps the name the call gave it (a graph output has it already).
    if (isNew) [from.name, to.name] = [to.name, from.name];
  });
  call.detach();
}

/** The body runs with the operator sets of the model, which therefore have to be its own. */
function adoptOpsets(model: Model, body: FunctionProto): void {
  const used = new Set((body.node ?? []).map((node) => domainOf(node)));
  for (const entry of body.opsetImport ?? []) {
    const domain = domainOf(entry);
    const version = Number(entry.version ?? 0);
    const present = model.opsets.get(domain);
    if (present === undefined) model.opsets.set(domain, version);
    else if (present !== version && used.has(domain)) {
      throw new Fault({
        code: 'FUNCTION_OPSET',
        what: `function ${body.name} uses version ${version} of the operator set "${domain}" and the model ${present}`,
        where: model.path,
        remedy: 'export the model with one version of each operator set',
      });
    }
  }
}

/** Attributes as the body sees them: those of the call, otherwise the declared defaults. */
function givenAttributes(call: Node, body: FunctionProto): Map<string, AttributeProto> {
  const given = new Map((body.attributeProto ?? []).map((attribute) => [attribute.name, attribute]));
  for (const [name, attribute] of call.attributes) {
    if (call.subgraphs.has(name)) throw unsupported(call, `the attribute ${name} is a graph`);
    const tensor = call.tensors.get(name);
    given.set(name, tensor ? { ...attribute, t: wholeTensor(tensor) } : attribute);
  }
  return given;
}

/** A copy of a node in which references to attributes are replaced; one that was not given is left out. */
function bindNode(node: NodeProto, given: ReadonlyMap<string, AttributeProto>): NodeProto {
  const attribute = (node.attribute ?? []).flatMap((each) => {
    if (!each.refAttrName) return [bindGraphs(each, given)];
    const value = given.get(each.refAttrName);
    return value ? [{ ...value, name: each.name }] : [];
  });
  return { ...node, attribute };
}

function bindGraphs(attribute: AttributeProto, given: ReadonlyMap<string, AttributeProto>): AttributeProto {
  const { g, graphs } = attribute;
  const bind = (graph: GraphProto): GraphProto => ({
    ...graph,
    node: (graph.node ?? []).map((node) => bindNode(node, given)),
  });
  return { ...attribute, ...(g && { g: bind(g) }), ...(graphs && { graphs: graphs.map(bind) }) };
}

function checkSize(model: Model, functions: Functions): void {
  const sizes = new Map<FunctionProto, number>();
  const pending = new Set<FunctionProto>();
  const sizeOf = (body: FunctionProto): number => {
    const known = sizes.get(body);
    if (known !== undefined) return known;
    if (pending.has(body)) throw refused('FUNCTION_RECURSION', `function ${body.name} calls itself`, model);
    pending.add(body);
    const size = callsOf(body.node ?? []).reduce((sum, key) => {
      const called = functions.get(key);
      return sum + (called ? sizeOf(called) : 1);
    }, 0);
    sizes.set(body, size);
    return size;
  };
  for (const body of functions.values()) {
    if (sizeOf(body) > nodeLimit)
      throw refused(
        'FUNCTION_TOO_LARGE',
        `function ${body.name} stands for more than ${nodeLimit} nodes`,
        model,
      );
  }
}

/** Keys of all nodes, those of subgraphs included. */
function callsOf(nodes: readonly NodeProto[]): string[] {
  return nodes.flatMap((node) => [
    keyOf(node.opType, node),
    ...(node.attribute ?? []).flatMap(({ g, graphs = [] }) =>
      (g ? [g] : graphs).flatMap((graph) => callsOf(graph.node ?? [])),
    ),
  ]);
}

/** The given functions and all that they call. */
function reachable(roots: readonly FunctionProto[], functions: Functions): Set<FunctionProto> {
  const found = new Set(roots);
  for (const body of found) {
    for (const key of callsOf(body.node ?? [])) {
      const called = functions.get(key);
      if (called) found.add(called);
    }
  }
  return found;
}

function unsupported(call: Node, why: string): Fault {
  return new Fault({
    code: 'FUNCTION_UNSUPPORTED',
    what: 'a call of a model-local function cannot be replaced by its body',
    where: `node ${call.name}, ${call.opType}`,
    why,
    remedy: 'inline the functions with the exporter',
  });
}

function refused(code: string, what: string, model: Model): Fault {
  return new Fault({
    code,
    what,
    where: model.path,
    remedy: 'check the model with onnx.checker and export it again',
  });
}
