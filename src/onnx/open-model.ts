import { statSync } from 'node:fs';
import { Fault } from '../fault.ts';
import type { ByteSource } from '../tensor/source.ts';
import { fileSource, memorySource } from '../tensor/source.ts';
import { buildGraph } from './build-graph.ts';
import { inlineFunctionData } from './inline-data.ts';
import { liftConstants } from './lift-constants.ts';
import type { ModelProto } from './messages.ts';
import type { Model } from './model.ts';
import { domainOf } from './model.ts';
import { decodeMessage } from './schema.ts';
import { readSkeleton } from './skeleton.ts';

/**
 * Opens an ONNX model. Only headers are read: weights stay in their files until someone reads them. Those that stand in
 * Constant nodes are initializers afterwards.
 * @throws Fault FILE_MISSING, ONNX_TRUNCATED, ONNX_MALFORMED, ONNX_INVALID, TENSOR_*, EXTERNAL_DATA
 */
export function openModel(path: string): Model {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isFile()) {
    throw new Fault({
      code: 'FILE_MISSING',
      what: stat ? 'this is no model file' : 'there is no such model file',
      where: path,
      remedy: stat?.isDirectory() ? 'give a file in this folder' : 'check the path',
    });
  }
  const model = decodeModel(fileSource(path, 0, stat.size), path);
  liftConstants(model.graph);
  return model;
}

/** Decodes a model from bytes; `path` serves for messages and to find external data. */
export function decodeModel(bytes: ByteSource | Uint8Array, path: string): Model {
  const file = bytes instanceof Uint8Array ? memorySource(bytes) : bytes;
  const proto = decodeProto(readSkeleton(file, path), path);
  if (!proto.graph) {
    throw new Fault({
      code: 'ONNX_MALFORMED',
      what: 'this is not an ONNX model',
      where: path,
      why: 'it holds no graph',
      remedy: 'give the path of an .onnx file',
    });
  }
  const { graph, irVersion, metadataProps = [], functions = [], ...rest } = proto;
  const origin = { path, file };
  for (const each of functions) inlineFunctionData(each, origin);
  return {
    path,
    byteLength: file.byteLength,
    graph: buildGraph(graph, null, origin),
    irVersion: Number(irVersion ?? 0),
    opsets: new Map((rest.opsetImport ?? []).map((entry) => [domainOf(entry), Number(entry.version)])),
    metadata: metadataProps,
    functions,
    proto: rest,
  };
}

function decodeProto(skeleton: Uint8Array, path: string): ModelProto {
  try {
    return { ...(decodeMessage('ModelProto', skeleton) as ModelProto) };
  } catch (cause) {
    const what = 'this is not an ONNX model';
    const remedy = 'give the path of an .onnx file';
    throw Fault.because(cause, { code: 'ONNX_MALFORMED', what, where: path, remedy });
  }
}
