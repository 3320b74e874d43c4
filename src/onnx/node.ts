import type { Graph } from './graph.ts';
import type { AttributeProto, NodeProto } from './messages.ts';
import { attributeType } from './messages.ts';
import { domainOf } from './model.ts';
import type { Tensor } from './tensor.ts';
import type { Value } from './value.ts';

/** One operation. Inputs may be null (left out); graphs of If, Loop and Scan hang in `subgraphs`. */
export class Node {
  readonly graph: Graph;
  /** Name, operator, doc string, metadata and unknown fields, as in the file. */
  readonly proto: Omit<NodeProto, 'input' | 'output' | 'attribute'>;
  readonly attributes: Map<string, AttributeProto>;
  /** Attribute name to the tensor it holds, e.g. `value` of a Constant. */
  readonly tensors = new Map<string, Tensor>();
  /** Attribute name to the graphs it holds. */
  readonly subgraphs = new Map<string, readonly Graph[]>();
  readonly outputs: (Value | null)[];
  private readonly inputList: (Value | null)[] = [];

  constructor(graph: Graph, proto: Node['proto'], attributes: AttributeProto[], outputs: (Value | null)[]) {
    this.graph = graph;
    this.proto = proto;
    this.attributes = new Map(attributes.map((attribute) => [attribute.name, attribute]));
    this.outputs = outputs;
    for (const value of outputs) if (value) value.producer = this;
  }

  get opType(): string {
    return this.proto.opType ?? '';
  }

  get domain(): string {
    return domainOf(this.proto);
  }

  get name(): string {
    return this.proto.name ?? '';
  }

  get inputs(): readonly (Value | null)[] {
    return this.inputList;
  }

  /** All graphs it holds. */
  get innerGraphs(): Graph[] {
    return [...this.subgraphs.values()].flat();
  }

  setInput(index: number, value: Value | null): void {
    while (this.inputList.length <= index) this.inputList.push(null);
    this.inputList[index]?.removeUse(this, index);
    this.inputList[index] = value;
    value?.addUse(this, index);
  }

  /** Makes these all of its inputs. */
  setInputs(values: readonly (Value | null)[]): void {
    while (this.inputList.length > values.length) {
      this.setInput(this.inputList.length - 1, null);
      this.inputList.pop();
    }
    values.forEach((value, index) => this.setInput(index, value));
  }

  /** Makes `value` where it made `from`, which nothing makes then. */
  setOutput(from: Value, value: Value): void {
    this.outputs[this.outputs.indexOf(from)] = value;
    from.producer = null;
    value.producer = this;
  }

  addSubgraphs(attribute: string, graphs: Graph[]): void {
    this.subgraphs.set(attribute, graphs);
    for (const graph of graphs) graph.owner = this;
  }

  /** Forgets all inputs, so that no value counts this node among its uses. */
  detach(): void {
    this.inputList.forEach((_, index) => this.setInput(index, null));
    for (const graph of this.innerGraphs) for (const node of graph.nodes) node.detach();
  }

  int(name: string): number | undefined {
    const { i } = this.attributes.get(name) ?? {};
    return i === undefined ? undefined : Number(i);
  }

  ints(name: string): number[] | undefined {
    const { type, ints } = this.attributes.get(name) ?? {};
    return ints?.map(Number) ?? (type === attributeType.ints ? [] : undefined);
  }

  float(name: string): number | undefined {
    return this.attributes.get(name)?.f;
  }

  string(name: string): string | undefined {
    const { s } = this.attributes.get(name) ?? {};
    return s && new TextDecoder().decode(s);
  }
}
