import { mkdtempSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, parse, resolve } from 'node:path';
import type * as Ort from 'onnxruntime-node';
import { Fault, reasonOf } from '../fault.ts';
import { temporary } from '../files/temporary.ts';
import { linkTensors } from '../onnx/link-tensors.ts';
import type { Model } from '../onnx/model.ts';
import { weightBytesOf } from '../onnx/model.ts';
import { encodeModel } from '../onnx/save-model.ts';
import { writeModel } from '../onnx/write-model.ts';
import type { DataType } from '../tensor/dtype.ts';
import { threadsOf } from './threads-of.ts';

/** A tensor on its way into or out of ONNX Runtime. */
export interface RunTensor {
  dtype: DataType;
  dims: readonly number[];
  data: ArrayBufferView & ArrayLike<number | bigint>;
}

/** What a run is fed, by the names of the model's inputs. */
export type Feeds = Record<string, RunTensor>;

/** What a run gave, by the names of the model's outputs. */
export type Results = Record<string, RunTensor>;

type Level = 'disabled' | 'basic' | 'extended' | 'all';

export interface SessionOptions {
  threads?: number;
  /** All there is by default, or as much as the model loads with. */
  optimization?: Level;
}

const levels: readonly Level[] = ['all', 'basic', 'disabled'];

/** A loaded model. Release it: ONNX Runtime keeps its memory until then. */
export interface Session {
  readonly inputs: readonly string[];
  /** Runs the model; `fetches` names the outputs wanted, all by default. */
  run(feeds: Feeds, fetches?: readonly string[]): Promise<Results>;
  release(): Promise<void>;
}

/**
 * Loads a model, from its file or as it stands in memory, into ONNX Runtime's CPU provider.
 * @throws Fault ORT_LOAD when ONNX Runtime refuses it, ORT_RUN when a run fails
 */
export async function openSession(model: Model | string, options: SessionOptions = {}): Promise<Session> {
  const ort = loadOrt();
  const path = typeof model === 'string' ? model : model.path;
  const stored = storeModel(model);
  const load = loaderOf(ort, stored, threadsOf(options.threads ?? 'auto'));
  const session = await guard('ORT_LOAD', 'ONNX Runtime cannot load the model', path, () =>
    loadAtSome(options.optimization ? [options.optimization] : levels, load),
  ).catch((fault) => {
    stored.remove();
    throw fault;
  });
  return {
    inputs: session.inputNames,
    run: (feeds, fetches) =>
      guard('ORT_RUN', 'ONNX Runtime failed while running the model', path, async () => {
        const inputs = Object.entries(feeds).map(([name, tensor]) => [name, toOrtTensor(ort, tensor)]);
        const results = await session.run(Object.fromEntries(inputs) as Ort.InferenceSession.FeedsType, [
          ...(fetches ?? session.outputNames),
        ]);
        return Object.fromEntries(
          Object.entries(results).map(([name, tensor]) => [name, toRunTensor(tensor)]),
        );
      }),
    async release() {
      await session.release();
      stored.remove();
    },
  };
}

/** What loads a stored model at a level of optimization. */
function loaderOf(
  ort: typeof Ort,
  { model, root }: StoredModel,
  threads: number,
): (level: Level) => Promise<Ort.InferenceSession> {
  const extra = root && { session: { model_external_initializers_file_folder_path: root } };
  return (level) => {
    const settings: Ort.InferenceSession.SessionOptions = {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads,
      graphOptimizationLevel: level,
      logSeverityLevel: 4,
      ...(extra && { extra }),
    };
    // Of two overloads.
    return typeof model === 'string'
      ? ort.InferenceSession.create(model, settings)
      : ort.InferenceSession.create(model, settings);
  };
}

/**
 * Loads at the first of some levels at which it can be done: optimizers of ONNX Runtime 1.30 break some sound graphs, such
 * as large ones that hold a model several times.
 * @throws what the first level ends with
 */
async function loadAtSome<Loaded>(
  [level, ...lower]: readonly Level[],
  load: (level: Level) => Promise<Loaded>,
): Promise<Loaded> {
  try {
    return await load(level);
  } catch (reason) {
    if (lower.length === 0) throw reason;
    return loadAtSome(lower, load).catch(() => {
      throw reason;
    });
  }
}

/** From here on weights are mapped from a file instead of copied four times, on their way to a message and out of it. */
const largestInMemory = 2 ** 26;

/** What a session loads a model from. */
interface StoredModel {
  /** A file, or bytes. */
  model: Uint8Array | string;
  /** Where the files that the bytes name are found. */
  root?: string;
  /** Removes the file, if it is a temporary one. */
  remove: () => void;
}

/** Weights that stand in files are mapped from there; the rest is copied, or goes to a temporary file if it is large. */
function storeModel(model: Model | string): StoredModel {
  if (typeof model === 'string') return { model, remove: () => {} };
  const { root } = parse(resolve(model.path));
  const placed = linkTensors(model, root);
  const linked = [...placed.keys()].reduce((sum, { source }) => sum + source.byteLength, 0);
  if (weightBytesOf(model) - linked <= largestInMemory)
    return { model: encodeModel(model, placed), root, remove: () => {} };
  const folder = mkdtempSync(join(tmpdir(), 'moeq-session-'));
  const remove = temporary(folder);
  try {
    const [file] = writeModel(model, join(folder, 'model.onnx'), { externalData: true });
    return { model: file, remove };
  } catch (fault) {
    remove();
    throw fault;
  }
}

/** The numbers of a tensor as float32. */
export function toFloats({ data }: RunTensor): Float32Array {
  return data instanceof Float32Array ? data : Float32Array.from(data as ArrayLike<number | bigint>, Number);
}

/** Loaded on first use: commands that only read a graph do not pay for the native library. */
function loadOrt(): typeof Ort {
  return createRequire(import.meta.url)('onnxruntime-node') as typeof Ort;
}

function toOrtTensor(ort: typeof Ort, { dtype, dims, data }: RunTensor): Ort.Tensor {
  if (dtype !== 'float16') return new ort.Tensor(dtype as 'float32', data as Float32Array, dims);
  // A Float16Array, which the constructor would make of these bits, cannot be read by the native library.
  return Object.assign(new ort.Tensor('uint16', bitsOf(data), dims), { type: 'float16' });
}

/** float16 numbers, held as a Float16Array or as plain bits, as bits. */
function bitsOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint16Array {
  return new Uint16Array(buffer, byteOffset, byteLength / 2);
}

function toRunTensor({ type, dims, data }: Ort.Tensor): RunTensor {
  return { dtype: type, dims, data: data as RunTensor['data'] };
}

async function guard<T>(code: string, what: string, where: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const why = reasonOf(cause).replace(/\s+/g, ' ').slice(0, 500);
    throw new Fault(
      { code, what, where, why, remedy: 'check that the model runs in ONNX Runtime by itself' },
      { cause },
    );
  }
}
