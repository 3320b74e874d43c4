import { closeSync, openSync } from 'node:fs';
import { basename } from 'node:path';
import { writeFully } from '../files/write-file.ts';
import type { ByteSource } from '../tensor/source.ts';
import type { Graph } from './graph.ts';
import { madeBy } from './made-values.ts';
import type {
  AttributeProto,
  GraphProto,
  ModelProto,
  NodeProto,
  OperatorSetIdProto,
  TensorProto,
  ValueInfoProto,
} from './messages.ts';
import type { Model } from './model.ts';
import { domainOf } from './model.ts';
import type { Node } from './node.ts';
import { encodeMessage, fieldHeader } from './schema.ts';
import type { Tensor } from './tensor.ts';
import { dataField, headerOf, isTyped, wholeTensor } from './tensor.ts';
import type { Value } from './value.ts';

/** Where the weights of a saved model go. */
export interface SaveOptions {
  /** File for tensors of at least 1 KiB; null keeps every tensor inside the model file. */
  externalData?: string | null;
}

const externalThreshold = 1024;
/** Start of each tensor in an external file: page-aligned, so that it can be memory-mapped. */
const alignment = 4096;

/**
 * Writes a model, streaming its weights one at a time. The files appear step by step and may not be on the disk yet when
 * it returns: `writeModel` sees to both. The same model gives the same bytes.
 */
export function saveModel(model: Model, path: string, options: SaveOptions = {}): void {
  const { externalData = null } = options;
  const placed =
    externalData === null
      ? null
      : writeFile(externalData, (file) => writeExternal(model.graph, file, basename(externalData)));
  writeFile(path, (file) => {
    for (const part of messageParts(model, placed)) writePart(file, part);
  });
}

function writeFile<Result>(path: string, write: (file: number) => Result): Result {
  const file = openSync(path, 'w');
  try {
    return write(file);
  } finally {
    closeSync(file);
  }
}

/** The bytes of a model with its weights inside, but for those that are `placed` in other files. */
export function encodeModel(model: Model, placed: Placed | null = null): Uint8Array {
  const parts = [...messageParts(model, placed)].map((part) =>
    part instanceof Uint8Array ? part : part.read(),
  );
  return Buffer.concat(parts);
}

type Part = Uint8Array | ByteSource;
/** Messages of tensors whose data stands in other files. */
export type Placed = Map<Tensor, TensorProto>;

/** ModelProto as a sequence of byte runs and sources. Initializers are the only large fields, so they stream. */
function* messageParts(model: Model, placed: Placed | null): Generator<Part> {
  const { graph } = model;
  const head = encodeMessage('ModelProto', modelHead(model));
  const body = encodeMessage('GraphProto', graphProto(graph));
  const tensors = [...graph.constants].map((value) => tensorParts(value, placed));
  const graphBytes = body.length + tensors.reduce((sum, parts) => sum + fieldLength(lengthOf(parts)), 0);
  yield head;
  yield fieldHeader(7, graphBytes);
  yield body;
  for (const parts of tensors) {
    yield fieldHeader(5, lengthOf(parts));
    yield* parts;
  }
}

function modelHead(model: Model): ModelProto {
  return {
    ...model.proto,
    irVersion: model.irVersion,
    opsetImport: opsetImports(model),
    metadataProps: model.metadata,
    functions: model.functions,
  };
}

/** The operator sets in use; an entry of the file that still holds stays as it was. */
function opsetImports({ opsets, proto }: Model): OperatorSetIdProto[] {
  const known = new Map((proto.opsetImport ?? []).map((entry) => [domainOf(entry), entry]));
  return [...opsets].map(([domain, version]) => ({ domain, ...known.get(domain), version }));
}

/** A graph as a message; of the outermost graph without its initializers, which are streamed. */
function graphProto(graph: Graph): GraphProto {
  const nodes = graph.sortedNodes();
  const inner = graph.parent
    ? { initializer: [...graph.constants].map(({ name, tensor }) => ({ ...wholeTensor(tensor!), name })) }
    : {};
  return {
    ...graph.proto,
    ...inner,
    name: graph.name,
    node: namedApart(nodes.map(nodeProto)),
    input: graph.inputs.map(valueInfo),
    output: graph.outputs.map(valueInfo),
    valueInfo: [
      ...innerValues(graph, nodes)
        .filter((value) => value.info)
        .map(valueInfo),
      ...graph.unusedInfo,
    ],
  };
}

/** Constants and intermediate values: what may be declared under `value_info`. */
function innerValues(graph: Graph, nodes: readonly Node[]): Value[] {
  const declared = new Set([...graph.inputs, ...graph.outputs]);
  return [...graph.constants, ...madeBy(nodes)].filter((value) => !declared.has(value));
}

function valueInfo({ name, info }: Value): ValueInfoProto {
  return { ...info, name };
}

function nodeProto(node: Node): NodeProto {
  return {
    ...node.proto,
    input: node.inputs.map((value) => value?.name ?? ''),
    output: node.outputs.map((value) => value?.name ?? ''),
    attribute: [...node.attributes.values()].map((attribute) => attributeProto(node, attribute)),
  };
}

/** ONNX Runtime refuses two nodes of one name in a graph, though none may have any. */
function namedApart(nodes: NodeProto[]): NodeProto[] {
  const taken = new Set(nodes.map(({ name }) => name));
  const counts = new Map<string, number>();
  return nodes.map((node) => {
    const { name } = node;
    let count = 1 + (counts.get(name ?? '') ?? 0);
    while (count > 1 && taken.has(`${name}_${count}`)) count++;
    counts.set(name ?? '', count);
    return name && count > 1 ? { ...node, name: `${name}_${count}` } : node;
  });
}

function attributeProto(node: Node, attribute: AttributeProto): AttributeProto {
  const tensor = node.tensors.get(attribute.name);
  if (tensor) return { ...attribute, t: wholeTensor(tensor) };
  const graphs = node.subgraphs.get(attribute.name)?.map(graphProto);
  if (!graphs) return attribute;
  return attribute.g ? { ...attribute, g: graphs[0] } : { ...attribute, graphs };
}

/** Header and data of one tensor, in the encoding it was read with. */
function tensorParts({ name, tensor }: Value, placed: Placed | null): Part[] {
  const external = placed?.get(tensor!);
  if (external) return [encodeMessage('TensorProto', { ...external, name })];
  if (isTyped(tensor!)) return [encodeMessage('TensorProto', { ...tensor!.proto, name })];
  const { field, bytes } = dataField(tensor!);
  const header = encodeMessage('TensorProto', { ...headerOf(tensor!), name });
  return [header, fieldHeader(field, bytes.byteLength), bytes];
}

function writeExternal(graph: Graph, file: number, location: string): Placed {
  const placed: Placed = new Map();
  let offset = 0;
  for (const { tensor } of graph.constants) {
    if (!tensor || tensor.source.byteLength < externalThreshold) continue;
    const padding = (alignment - (offset % alignment)) % alignment;
    writePart(file, new Uint8Array(padding));
    offset += padding;
    writePart(file, tensor.source);
    placed.set(tensor, externalHeader(tensor, location, offset));
    offset += tensor.source.byteLength;
  }
  return placed;
}

/** The message of a tensor whose data stands in another file. */
export function externalHeader(tensor: Tensor, location: string, offset: number): TensorProto {
  return {
    ...headerOf(tensor),
    dataLocation: 1,
    externalData: [
      { key: 'location', value: location },
      { key: 'offset', value: String(offset) },
      { key: 'length', value: String(tensor.source.byteLength) },
    ],
  };
}

const chunk = 1 << 24;

function writePart(file: number, part: Part): void {
  if (part instanceof Uint8Array) {
    writeFully(file, part);
    return;
  }
  for (let at = 0; at < part.byteLength; at += chunk) {
    writePart(file, part.read(at, Math.min(chunk, part.byteLength - at)));
  }
}

function lengthOf(parts: readonly Part[]): number {
  return parts.reduce((sum, part) => sum + part.byteLength, 0);
}

function fieldLength(length: number): number {
  return fieldHeader(1, length).length + length;
}
