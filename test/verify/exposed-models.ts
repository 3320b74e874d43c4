import type { Batch } from '../../src/data/batches.ts';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { floatExperts } from '../../src/emit/float-experts.ts';
import type { LayerRecord } from '../../src/moe/model-record.ts';
import { layerRecord, readModelRecord } from '../../src/moe/model-record.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { graft } from '../../src/onnx/graft.ts';
import { Graph } from '../../src/onnx/graph.ts';
import type { Model } from '../../src/onnx/model.ts';
import { opsetOf } from '../../src/onnx/model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { Value } from '../../src/onnx/value.ts';
import type { Feeds, RunTensor } from '../../src/runtime/session.ts';
import { openSession } from '../../src/runtime/session.ts';
import { codeOf } from '../../src/tensor/dtype.ts';
import type { Tensor } from './slow-metrics.ts';

type Tensors = Record<string, RunTensor>;

/** A model whose values can be looked at by name, as its record names them. */
export interface Exposed {
  model: Model;
  layers: LayerRecord[];
}

export function exposedReference(path: string, like: Model): Exposed {
  const { model, layers } = prepareModel(path, opsetOf(like));
  for (const layer of layers) emitLayer(model, layer, floatExperts(layer));
  return { model, layers: layers.map((layer) => layerRecord(layer, null)) };
}

export function exposedQuantized(path: string): Exposed {
  const model = openModel(path);
  return { model, layers: readModelRecord(model)!.layers };
}

/** Runs a model as it stands, and returns the values of these names. */
export async function runExposed(
  { model }: Exposed,
  names: readonly (string | null)[],
  { feeds }: Pick<Batch, 'feeds'>,
): Promise<Tensors> {
  const { outputs } = model.graph;
  model.graph.outputs = wanted(model, names);
  try {
    return await run(model, feeds);
  } finally {
    model.graph.outputs = outputs;
  }
}

/** Runs what lies between some values, which are fed, and others. Other inputs of the model are fed from `feeds`. */
export async function runBetween(
  { model }: Exposed,
  fed: Feeds,
  names: readonly (string | null)[],
  feeds: Feeds,
): Promise<Tensors> {
  const graph = new Graph('between');
  const bound = Object.entries(fed).map(([name, { dtype, dims }]): [Value, Value] => {
    const shape = { dim: dims.map((_, i) => ({ dimParam: `${name}_${i}` })) };
    const info = { name, type: { tensorType: { elemType: codeOf(dtype), shape } } };
    return [wanted(model, [name])[0], new Value(graph.uniqueName(name), info)];
  });
  graph.inputs = bound.map(([, input]) => input);
  const results = wanted(model, names);
  graph.outputs = graft(graph, results, new Map(bound), '');
  graph.inputs = graph.inputs.filter((input) => input.uses.length > 0 || graph.outputs.includes(input));
  graph.outputs = graph.outputs.map((value) =>
    graph.inputs.includes(value) ? graph.addNode('Identity', [value]).outputs[0]! : value,
  );
  const inputs = new Set(graph.inputs.map(({ name }) => name));
  const all = Object.entries({ ...feeds, ...fed }).filter(([name]) => inputs.has(name));
  const run_ = await run({ ...model, graph, functions: [] }, Object.fromEntries(all));
  return Object.fromEntries(results.map(({ name }, i) => [name, run_[graph.outputs[i].name]]));
}

async function run(model: Model, feeds: Feeds): Promise<Tensors> {
  const session = await openSession(model, { optimization: 'disabled', threads: 1 });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

function wanted({ graph }: Model, names: readonly (string | null)[]): Value[] {
  const made = graph.nodes.flatMap(({ outputs }) => outputs);
  const byName = new Map([...graph.inputs, ...made].map((value) => [value?.name, value]));
  return [...new Set(names.filter((name) => name !== null))].map((name) => {
    const value = byName.get(name);
    if (!value) throw new Error(`there is no value ${name}`);
    return value;
  });
}

export function tensorOf({ dims, data }: RunTensor): Tensor {
  return { dims, data: Array.from(data as ArrayLike<number>, Number) };
}
