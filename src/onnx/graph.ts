import type { AttributeProto, GraphProto } from './messages.ts';
import { Node } from './node.ts';
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

  /** `hint`, or `hint_2`, `hint_3`, … if that occurs anywhere in the model; the name is then taken. */
  uniqueName(hint: string): string {
    let name = hint;
    let count = this.hintCounts.get(hint) ?? 1;
    while (this.allNames.has(name)) name = `${hint}_${++count}`;
    this.hintCounts.set(hint, count);
    this.claimName(name);
    return name;
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
   * Lets every reader of `from` read `to` instead. A graph output keeps its name: `to` takes it over.
   */
  replaceAllUses(from: Value, to: Value): void {
    if (from === to) return;
    // The list of uses shrinks with each step.
    for (let use = from.uses.at(-1); use; use = from.uses.at(-1)) use.node.setInput(use.index, to);
    if (!this.outputs.includes(from)) return;
    this.outputs = this.outputs.map((value) => (value === from ? to : value));
    [from.name, to.name] = [to.name, from.name];
    to.info ??= from.info;
  }

  /** Removes nodes and constants that nothing reads. Returns how many nodes went. */
  removeDeadCode(): number {
    const live = new Set<Node>();
    const pending: Node[] = [];
    const keep = (node: Node | null): void => {
      // A node inside a subgraph keeps the node of this graph that holds it.
      const holder = node && this.holderOf(node);
      if (!holder || live.has(holder)) return;
      live.add(holder);
      pending.push(holder);
    };
    for (const output of this.outputs) keep(output.producer);
    for (let node = pending.pop(); node; node = pending.pop()) {
      for (const value of readsOf(node)) keep(value.producer);
    }
    const dead = this.nodes.filter((node) => !live.has(node));
    for (const node of dead) node.detach();
    this.nodes = this.nodes.filter((node) => live.has(node));
    for (const value of this.constants) {
      if (value.uses.length === 0 && !this.outputs.includes(value) && !this.inputs.includes(value)) {
        this.constants.delete(value);
      }
    }
    return dead.length;
  }

  /** `nodes` so that every node comes after those it reads from; otherwise in their present order. */
  sortedNodes(): Node[] {
    const done = new Set<Node>();
    const order: Node[] = [];
    for (const root of this.nodes) {
      const stack = [{ node: root, next: this.dependencies(root) }];
      while (stack.length > 0) {
        const top = stack.at(-1)!;
        const dependency = done.has(top.node) ? undefined : top.next.pop();
        if (dependency) {
          if (!done.has(dependency)) stack.push({ node: dependency, next: this.dependencies(dependency) });
          continue;
        }
        stack.pop();
        if (done.has(top.node)) continue;
        done.add(top.node);
        order.push(top.node);
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
  const values = node.inputs.filter((value): value is Value => value !== null);
  for (const graph of [...node.subgraphs.values()].flat()) {
    for (const inner of graph.nodes) values.push(...readsOf(inner));
    values.push(...graph.outputs);
  }
  return values;
}
