import type { DataType } from '../tensor/dtype.ts';
import { dataTypeOf } from '../tensor/dtype.ts';
import type { TypeProto, ValueInfoProto } from './messages.ts';
import type { Node } from './node.ts';
import type { Tensor } from './tensor.ts';

/** One place where a value is read: input `index` of `node` (which may lie in a subgraph). */
export interface Use {
  readonly node: Node;
  readonly index: number;
}

/** A named edge of the graph: made by one node, or a graph input, or a constant; read by its uses. */
export class Value {
  name: string;
  /** Type, doc string and metadata as declared in the file, if they are. */
  info: ValueInfoProto | undefined;
  producer: Node | null = null;
  /** Set for initializers. */
  tensor: Tensor | null = null;
  private readonly useList: Use[] = [];

  constructor(name: string, info?: ValueInfoProto) {
    this.name = name;
    this.info = info;
  }

  get type(): TypeProto | undefined {
    return this.info?.type;
  }

  get uses(): readonly Use[] {
    return this.useList;
  }

  /** Nodes that read this value, each once. */
  get consumers(): Node[] {
    return [...new Set(this.useList.map((use) => use.node))];
  }

  get dtype(): DataType | undefined {
    if (this.tensor) return this.tensor.source.dtype;
    return this.type?.tensorType && dataTypeOf(this.type.tensorType.elemType);
  }

  /** Declared dimensions: numbers, names, or null where unknown; undefined when nothing is declared. */
  get shape(): (number | string | null)[] | undefined {
    if (this.tensor) return [...this.tensor.source.shape];
    const shape = this.type?.tensorType?.shape;
    return (
      shape &&
      (shape.dim ?? []).map(({ dimValue, dimParam }) =>
        dimValue === undefined ? (dimParam ?? null) : Number(dimValue),
      )
    );
  }

  /** For Node only: keeps the list of uses true. */
  addUse(node: Node, index: number): void {
    this.useList.push({ node, index });
  }

  /** For Node only. */
  removeUse(node: Node, index: number): void {
    this.useList.splice(
      this.useList.findLastIndex((use) => use.node === node && use.index === index),
      1,
    );
  }
}
