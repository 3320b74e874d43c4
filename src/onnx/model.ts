import { countOf } from '../tensor/dtype.ts';
import type { Graph } from './graph.ts';
import type { FunctionProto, ModelProto, StringEntry } from './messages.ts';

/** A model in memory: one graph, and what stands around it in the file. */
export interface Model {
  /** The file it was read from; external data is found beside it. */
  path: string;
  /** Size of the file, without external data. */
  byteLength: number;
  graph: Graph;
  irVersion: number;
  /** Operator set version per domain ('' for ai.onnx). */
  opsets: Map<string, number>;
  metadata: StringEntry[];
  functions: FunctionProto[];
  /** Producer, doc string, operator set imports, training info and unknown fields, as in the file. */
  proto: Omit<ModelProto, 'graph' | 'irVersion' | 'metadataProps' | 'functions'>;
}

/** The version of the standard operator set a model uses; 0 when it imports none. */
export function opsetOf(model: Model): number {
  return model.opsets.get('') ?? 0;
}

/** Bytes of all constants as stored, those of subgraphs left out. */
export function weightBytesOf({ graph }: Model): number {
  return [...graph.constants].reduce((sum, { tensor }) => sum + tensor!.source.byteLength, 0);
}

/** Elements of all constants, those of subgraphs left out. */
export function parametersOf({ graph }: Model): number {
  return [...graph.constants].reduce((sum, { tensor }) => sum + countOf(tensor!.source.shape), 0);
}

/** Bytes of the file and of its external data. */
export function storedBytesOf({ graph, byteLength }: Model): number {
  const external = [...graph.constants].filter(({ tensor }) => tensor!.proto.dataLocation === 1);
  return external.reduce((sum, { tensor }) => sum + tensor!.source.byteLength, byteLength);
}

/** The domain of an operator set, a node or a function; '' for ai.onnx. */
export function domainOf({ domain = '' }: { domain?: string }): string {
  return domain === 'ai.onnx' ? '' : domain;
}

/** An empty model. `path` only serves for messages. */
export function newModel(graph: Graph, opsets: Record<string, number>, irVersion: number, path = ''): Model {
  return {
    path,
    byteLength: 0,
    graph,
    irVersion,
    opsets: new Map(Object.entries(opsets)),
    metadata: [],
    functions: [],
    proto: { producerName: 'moeq' },
  };
}
