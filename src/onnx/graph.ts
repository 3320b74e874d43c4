import type { DataType } from '../tensor/dtype.ts';
import type { AttributeProto, GraphProto, ValueInfoProto } from './messages.ts';
import { Node } from './node.ts';
import { tensorInfo } from './tensor-info.ts';
import type { Tensor } from './tensor.ts';
import { Value } from './value.ts';

/**
 * A graph of nodes that refer to each other through {@link Value}s, never through names. Names are labels that
 * are written when saving; `nodes` is in no particular order until then.
 */
export class Graph {
  name: string;
  /** The graph whose node holds this one; its values are visible here. */
  readonly parent: Graph | null;
  /** The node of `parent` that holds this graph. */
  owner: Node | null = null;
  inputs: Value[] = [];
  outputs: Value[] = [];
  nodes: Node[] = [];
  /** Values that are read but that nothing defines: the file does not run as it is. */
  undefinedValues: Value[] = [];
  /** Initializers, in file order. */
  readonly constants = new Set<Value>();
  /** Doc string, metadata, sparse initializers, annotations and unknown fields, as in the file. */
  readonly proto: Omit<GraphProto, 'node' | 'input' | 'output' | 'initializer' | 'valueInfo'>;
  /** Declarations in the file for values that do not occur. */
  readonly unusedInfo: ValueInfoProto[] = [];
  private readonly ownNames = new Set<string>();
  /** Names of the outermost graph and everything nested in it. */
  private readonly allNames: Set<string>;
  /** How often each hint was asked for, so that a common hint stays cheap. */
  private readonly hintCounts: Map<string, number>;

  constructor(name: string, parent: Graph | null = null, proto: Graph['proto'] = {}) {
    this.name = name;
    this.parent = parent;
    this.proto = proto;
    this.allNames = parent?.allNames ?? new Set();
    this.hintCounts = parent?.hintCounts ?? new Map();
  }

  /** Marks a name as taken. False if this graph or one around it has it already (branches of an If may agree). */
  claimName(name: string): boolean {
    if (this.isNameVisible(name)) return false;
    this.ownNames.add(name);
    this.allNames.add(name);
    return true;
  }

  private isNameVisible(name: string): boolean {
    return this.ownNames.has(name) || (this.parent?.isNameVisible(name) ?? false);
  }

  /** Keeps a declaration of a value that does not exist here. No new value may come under it. */
  keepInfo(info: ValueInfoProto): void {
    this.claimName(info.name);
    this.unusedInfo.push(info);
  }

  /** `hint`, or `hint_2`, `hint_3`, … if that occurs anywhere in the model; the name is then taken. */
  uniqueName(hint: string): string {
    let name = hint;
    let count = this.hintCounts.get(hint) ?? 1;
    while (this.allNames.has(name)) name = `${hint}_${++count}`;
    this.hintCounts.set(hint, count);
    this.claimName(name);
    return name;
  }

  /** Adds an input; its name is `hint` unless that is taken. */
  addInput(hint: string, dtype: DataType, rank?: number): Value {
    const name = this.uniqueName(hint);
    const value = new Value(name, tensorInfo(name, dtype, rank));
    this.inputs.push(value);
    return value;
  }

  addConstant(tensor: Tensor): Value {
    const value = new Value(this.uniqueName(tensor.proto.name ?? 'constant'));
    tensor.proto.name = value.name;
    value.tensor = tensor;
    this.constants.add(value);
    return value;
  }

  addNode(
    opType: string,
    inputs: readonly (Value | null)[],
    options: {
      name?: string;
      domain?: string;
      attributes?: AttributeProto[];
      outputs?: readonly string[];
    } = {},
  ): Node {
    const hint = options.name ?? opType;
    const outputs = (options.outputs ?? [hint]).map((each) => new Value(this.uniqueName(each)));
    const node = new Node(
      this,
      { name: outputs[0]?.name ?? hint, opType, domain: options.domain ?? '' },
      options.attributes ?? [],
      outputs,
    );
    inputs.forEach((value, index) => node.setInput(index, value));
    this.nodes.push(node);
    return node;
  }

  /**
   * Lets every reader of `from` read `to` instead. A graph output keeps its name: `to` takes it over, through an
   * Identity where `to` has to keep its own name.
   */
  replaceAllUses(from: Value, to: Value): void {
    if (from === to) return;
    // The list of uses shrinks with each step.
    for (let use = from.uses.at(-1); use; use = from.uses.at(-1)) use.node.setInput(use.index, to);
    if (!this.outputs.includes(from)) return;
    const isBound = to.producer?.graph !== this || this.outputs.includes(to);
    const result = isBound ? this.addNode('Identity', [to]).outputs[0]! : to;
    this.outputs = this.outputs.map((value) => (value === from ? result : value));
    [from.name, result.name] = [result.name, from.name];
    result.info ??= from.info;
  }

  /**
   * Lets `value` be what `result` of this graph is: whoever holds or reads it has it still, under its name, and the node
   * that made it makes something that nobody reads.
   */
  redefine(value: Value, result: Value): void {
    const made = result.producer?.graph === this ? result : this.addNode('Identity', [result]).outputs[0]!;
    for (let use = made.uses.at(-1); use; use = made.uses.at(-1)) use.node.setInput(use.index, value);
    this.outputs = this.outputs.map((each) => (each === made ? value : each));
    value.producer?.setOutput(value, new Value(this.uniqueName(`${value.name}_before`)));
    made.producer!.setOutput(made, value);
  }

  /** Removes nodes and constants that nothing reads, in nested graphs too. Returns how many nodes went. */
  removeDeadCode(): number {
    const nested = this.nodes.flatMap(({ innerGraphs }) => innerGraphs);
    const within = nested.reduce((sum, graph) => sum + graph.removeDeadCode(), 0);
    const live = new Set<Node>();
    const read = new Set([...this.inputs, ...this.outputs]);
    const pending = [...read];
    for (let value = pending.pop(); value; value = pending.pop()) {
      // A node inside a subgraph keeps the node of this graph that holds it.
      const holder = value.producer && this.holderOf(value.producer);
      if (!holder || live.has(holder)) continue;
      live.add(holder);
      for (const each of readsOf(holder)) {
        if (!read.has(each)) pending.push(each);
        read.add(each);
      }
    }
    const dead = this.nodes.filter((node) => !live.has(node));
    for (const node of dead) node.detach();
    this.nodes = this.nodes.filter((node) => live.has(node));
    for (const value of this.constants) if (!read.has(value)) this.constants.delete(value);
    return dead.length + within;
  }

  /**
   * `nodes` so that every node comes after those it reads from; otherwise in their present order. Nodes on a cycle
   * come in some order.
   */
  sortedNodes(): Node[] {
    const entered = new Set<Node>();
    const order: Node[] = [];
    for (const root of this.nodes) {
      if (entered.has(root)) continue;
      entered.add(root);
      const stack = [{ node: root, pending: this.dependencies(root) }];
      for (let top = stack.at(-1); top; top = stack.at(-1)) {
        const dependency = top.pending.pop();
        if (!dependency) {
          order.push(top.node);
          stack.pop();
        } else if (!entered.has(dependency)) {
          entered.add(dependency);
          stack.push({ node: dependency, pending: this.dependencies(dependency) });
        }
      }
    }
    return order;
  }

  /** The node of this graph that holds `node` in a subgraph (itself if it lies here), or null. */
  private holderOf(node: Node): Node | null {
    for (let holder: Node | null = node; holder; holder = holder.graph.owner)
      if (holder.graph === this) return holder;
    return null;
  }

  /** Producers in this graph of what a node reads, last input first. */
  private dependencies(node: Node): Node[] {
    const producers = readsOf(node).map((value) => value.producer);
    return producers.filter((producer): producer is Node => producer?.graph === this).toReversed();
  }
}

/** Every value a node reads, those of its subgraphs included. */
export function readsOf(node: Node): Value[] {
  const values = node.inputs.filter((value) => value !== null);
  for (const graph of node.innerGraphs) {
    for (const inner of graph.nodes) values.push(...readsOf(inner));
    values.push(...graph.outputs);
  }
  return values;
}

/** A graph and all that are nested in it. */
export function* allGraphs(graph: Graph): Generator<Graph> {
  yield graph;
  for (const { innerGraphs } of graph.nodes) for (const inner of innerGraphs) yield* allGraphs(inner);
}

/** The nodes of a graph and of all that are nested in it. */
export function* allNodes(graph: Graph): Generator<Node> {
  for (const { nodes } of allGraphs(graph)) yield* nodes;
}
