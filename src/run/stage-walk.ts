import type { Batch } from '../data/batches.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { extractModel } from '../onnx/graft.ts';
import type { Graph } from '../onnx/graph.ts';
import { madeValues } from '../onnx/made-values.ts';
import type { Model } from '../onnx/model.ts';
import { tensorInfo } from '../onnx/tensor-info.ts';
import type { Value } from '../onnx/value.ts';
import type { Feeds, SessionOptions } from '../runtime/session.ts';
import type { ActivationStore } from './activation-store.ts';
import { openActivationStore } from './activation-store.ts';
import type { Probe } from './probe.ts';
import { feedsOf } from './probe.ts';
import { runBatches } from './run-batches.ts';
import { stagesOf } from './stages.ts';

/** What a run of one stage is for. */
export interface StageRun {
  /** What is to be seen of it. */
  probes: readonly Probe[];
  /** See `addValidInput`. */
  valid: Value | null;
  /** The first batch to run, and the one behind the last; all by default. */
  only?: readonly [from: number, to: number];
  /** Keep what later stages read; what only stages before this one read is forgotten then. */
  passOn: boolean;
}

/**
 * A walk through a model, one stage after the other, over batches; what a stage hands on waits on disk. A stage has
 * to fit in memory, not the model.
 */
export interface StageWalk {
  /**
   * Runs the stage `index`, as it is in `model`: the walked one, or one with layers written anew.
   * @throws Fault ORT_*, CALIBRATION_STAGE
   */
  run(model: Model, index: number, purpose: StageRun): Promise<void>;
  /** Removes what waits. */
  close(): void;
}

/** A walk through a model whose stages each end in a MoE layer. */
export function walkLayers(
  { model, layers }: { model: Model; layers: readonly MoeLayer[] },
  batches: readonly Batch[],
  session: SessionOptions,
): StageWalk {
  const ends = layers.map(({ boundary }) => [boundary!.output]);
  return walkStages(model.graph, ends, batches, session);
}

/**
 * A walk that is about to begin, through the stages of `stagesOf`. Values between them are found by their names, which
 * writing layers anew keeps.
 */
export function walkStages(
  graph: Graph,
  ends: readonly (readonly Value[])[],
  batches: readonly Batch[],
  session: SessionOptions,
): StageWalk {
  const plan = stagesOf(graph, ends).map(({ inputs, outputs }) => ({
    inputs: inputs.map(({ name }) => name),
    outputs: outputs.map(({ name }) => name),
  }));
  const store = openActivationStore();
  return {
    async run(walked, index, { probes, valid, passOn, only: [from, to] = [0, batches.length] }) {
      const { inputs, outputs } = plan[index];
      const passed = passOn ? outputs : [];
      const valueOf = madeValues(walked.graph);
      const seen = probes.flatMap((probe) => probe.outputs);
      const wanted = new Set([...passed.map((name) => valueOf.get(name)!), ...seen]);
      if (wanted.size > 0) {
        const stage = cutStage(
          walked,
          [...wanted],
          inputs.map((name) => valueOf.get(name)!),
          store,
        );
        const more = (batch: Batch, at: number): Feeds => ({
          ...Object.fromEntries(inputs.map((name) => [name, store.get(name, from + at)])),
          ...feedsOf(probes, batch),
        });
        await runBatches(stage, batches.slice(from, to), { valid, more }, session, (results, batch, at) => {
          for (const probe of probes) probe.take(results, batch);
          for (const name of passed) store.put(name, from + at, results[name]);
        });
      }
      if (!passOn || index === 0) return;
      const later = new Set(plan.slice(index).flatMap((stage) => stage.inputs));
      for (const name of plan[index - 1].inputs) if (!later.has(name)) store.drop(name);
    },
    close: () => store.close(),
  };
}

/** The part of a model between what waits in the store and what is wanted. */
function cutStage(model: Model, outputs: Value[], cuts: readonly Value[], store: ActivationStore): Model {
  const stage = extractModel(model, outputs, cuts);
  const names = new Set(cuts.map(({ name }) => name));
  for (const input of stage.graph.inputs.filter(({ name }) => names.has(name))) {
    const { dtype, rank } = store.typeOf(input.name);
    input.info = tensorInfo(input.name, dtype, rank);
  }
  return stage;
}
