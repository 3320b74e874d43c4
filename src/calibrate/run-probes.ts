import type { Batch } from '../data/batches.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { extractModel } from '../onnx/extract.ts';
import type { Model } from '../onnx/model.ts';
import { tensorInfo } from '../onnx/tensor-info.ts';
import type { Value } from '../onnx/value.ts';
import type { Feeds, RunTensor, SessionOptions } from '../runtime/session.ts';
import type { ActivationStore } from './activation-store.ts';
import { openActivationStore } from './activation-store.ts';
import { runBatches } from './run-batches.ts';
import { stagesOf } from './stages.ts';
import { addValidInput } from './valid-input.ts';

export type Results = Record<string, RunTensor>;

/** Added graph outputs of one layer, and what takes them in after each batch. */
export interface LayerProbe {
  outputs: readonly Value[];
  take(results: Results, batch: Batch): void;
}

/** Adds to a model what is to be seen of one layer. `valid` [positions] tells tokens from padding; null: all are tokens. */
export type AttachProbe = (model: Model, layer: MoeLayer, index: number, valid: Value | null) => LayerProbe;

export interface RunOptions extends SessionOptions {
  /** Run the model one MoE layer at a time, with activations on disk between them: a layer has to fit in memory. */
  byLayer?: boolean;
  /** Told how many of its steps are done, one for each batch of each layer. */
  onStep?: (done: number, total: number) => void;
}

/**
 * Runs a model over batches with probes attached to its MoE layers, at once or layer by layer.
 * @throws Fault ORT_*, CALIBRATION_STAGE
 */
export async function runProbes(
  open: () => PreparedModel,
  batches: readonly Batch[],
  attach: AttachProbe,
  { byLayer = false, onStep, ...session }: RunOptions = {},
): Promise<void> {
  let done = 0;
  const attachTo: AttachTo = ({ model, layers }, indices) => {
    const valid = addValidInput(model, batches);
    const probes = indices.map((index) => attach(model, layers[index], index, valid));
    const total = layers.length * batches.length;
    return { valid, probes: probes.map((probe) => counted(probe, () => onStep?.((done += 1), total))) };
  };
  await (byLayer ? runByLayer : runAtOnce)(open, batches, attachTo, session);
}

function counted(probe: LayerProbe, count: () => void): LayerProbe {
  return {
    outputs: probe.outputs,
    take(results, batch) {
      probe.take(results, batch);
      count();
    },
  };
}

type AttachTo = (
  prepared: PreparedModel,
  indices: readonly number[],
) => { valid: Value | null; probes: LayerProbe[] };

async function runAtOnce(
  open: () => PreparedModel,
  batches: readonly Batch[],
  attachTo: AttachTo,
  session: SessionOptions,
): Promise<void> {
  const prepared = open();
  const { valid, probes } = attachTo(prepared, [...prepared.layers.keys()]);
  const { model } = prepared;
  model.graph.outputs = [...new Set(probes.flatMap(({ outputs }) => outputs))];
  if (model.graph.outputs.length === 0) return;
  model.graph.removeDeadCode();
  await runBatches(model, batches, { valid }, session, (results, batch) =>
    probes.forEach((probe) => probe.take(results, batch)),
  );
}

async function runByLayer(
  open: () => PreparedModel,
  batches: readonly Batch[],
  attachTo: AttachTo,
  session: SessionOptions,
): Promise<void> {
  const store = openActivationStore();
  try {
    const { model, layers } = open();
    const plan = stagesOf(model.graph, layers).map(({ inputs }) => inputs.map(({ name }) => name));
    for (const [index, reads] of plan.entries()) {
      await runStage(open(), index, batches, { attachTo, store, session });
      const later = new Set(plan.slice(index + 1).flat());
      for (const name of reads) if (!later.has(name)) store.drop(name);
    }
  } finally {
    store.close();
  }
}

/** Runs what leads from one layer to the next; `prepared` is rewritten. */
async function runStage(
  prepared: PreparedModel,
  index: number,
  batches: readonly Batch[],
  { attachTo, store, session }: { attachTo: AttachTo; store: ActivationStore; session: SessionOptions },
): Promise<void> {
  const { model, layers } = prepared;
  const { inputs, outputs } = stagesOf(model.graph, layers)[index];
  for (const value of inputs) {
    const { dtype, dims } = store.get(value.name, 0);
    value.info = tensorInfo(value.name, dtype, dims.length);
  }
  const passedOn = outputs.map(({ name }) => name);
  // A rewritten layer hands the names of its outputs over to its new values.
  model.graph.outputs = outputs;
  const { valid, probes } = attachTo(prepared, [index]);
  const wanted = [...model.graph.outputs, ...probes.flatMap((probe) => probe.outputs)];
  if (wanted.length === 0) return;
  const stage = extractModel(model, [...new Set(wanted)], inputs);
  const more = (batch: number): Feeds =>
    Object.fromEntries(inputs.map(({ name }) => [name, store.get(name, batch)]));
  await runBatches(stage, batches, { valid, more }, session, (results, batch, at) => {
    for (const probe of probes) probe.take(results, batch);
    for (const name of passedOn) store.put(name, at, results[name]);
  });
}
