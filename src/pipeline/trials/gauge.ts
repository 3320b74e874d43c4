import { positionsOf } from '../../data/positions.ts';
import type { DataRecord } from '../../data/record.ts';
import { emitFloat } from '../../emit/float-experts.ts';
import { Fault } from '../../fault.ts';
import { readModelRecord } from '../../moe/model-record.ts';
import { prepareModel } from '../../moe/prepare-model.ts';
import type { Model } from '../../onnx/model.ts';
import { opsetOf } from '../../onnx/model.ts';
import type { Value } from '../../onnx/value.ts';
import type { Probe } from '../../run/probe.ts';
import type { StageWalk } from '../../run/stage-walk.ts';
import { walkStages } from '../../run/stage-walk.ts';
import type { SessionOptions } from '../../runtime/session.ts';
import { toFloats } from '../../runtime/session.ts';
import { batchesFor } from '../../verify/batches-for.ts';
import { joinModels, mainOutput } from '../../verify/join-models.ts';
import { decisionsOf } from '../routers/decision-probes.ts';
import type { Choices } from './choice-probes.ts';
import { agreementProbe, choiceProbe } from './choice-probes.ts';

/** How far a model is from the reference. */
export interface Distance {
  /** Divergence of the output, in nats. */
  divergence: number;
  /** Share of the routers' choices that differ, over all layers: the worst one alone tells less, by chance. */
  rerouted: number;
}

/** Fewer choices that differ do not make a model better than another. */
const leastRerouted = 1e-3;

/** Both in one number, since either can be bought with the other: their product. */
export function joint({ divergence, rerouted }: Distance): number {
  return divergence * (rerouted + leastRerouted);
}

/** Tells how far written models are from the one they were made from, on the same records. */
export interface Gauge {
  /** @throws Fault OUTPUT_NOT_FINITE, ORT_*, and those of opening the reference */
  distanceOf(written: Model): Promise<Distance>;
  /** Removes what waits on disk. */
  close(): Promise<void>;
}

/** So many records tell two recipes apart. */
export const recordsTried = 256;

/**
 * A gauge that runs the reference once, when it is first needed: what its routers decided is kept, and on disk what is
 * behind its last MoE layer. Each model is run beside what is left of the reference, which makes the outputs to compare
 * with; those of all records would not fit anywhere.
 */
export function openGauge(path: string, records: readonly DataRecord[], session: SessionOptions): Gauge {
  let running: Promise<Reference> | null = null;
  return {
    async distanceOf(written) {
      const opset = opsetOf(written);
      running ??= runReference(path, opset, records.slice(0, recordsTried), session);
      const { walk, choices } = await running;
      const reference = prepareModel(path, opset);
      const quantized = { model: written, record: readModelRecord(written)! };
      const joined = joinModels(reference, quantized, {
        language: false,
        attribution: false,
        byLayer: false,
      });
      const routers = joined.layers.map(({ cumulative }, i) =>
        agreementProbe(cumulative, reference.layers[i].router.experts, choices[i]),
      );
      const output = divergenceProbe(joined.output.quantized.kl);
      await walk.run(joined.model, 1, { probes: [...routers, output], valid: null, passOn: false });
      const agreement = routers.reduce((sum, router) => sum + router.mean(), 0);
      const distance = { divergence: output.mean(), rerouted: 1 - agreement / routers.length };
      if (!Number.isFinite(joint(distance))) throw notFinite(path);
      return distance;
    },
    async close() {
      (await running?.catch(() => null))?.walk.close();
    },
  };
}

interface Reference {
  /** Behind its first stage, all MoE layers. */
  walk: StageWalk;
  /** Of each layer. */
  choices: Choices[];
}

async function runReference(
  path: string,
  opset: number,
  records: readonly DataRecord[],
  session: SessionOptions,
): Promise<Reference> {
  const { model, layers } = prepareModel(path, opset);
  const batches = [...batchesFor(model, records)];
  const ends = layers.map(({ boundary }) => boundary!.output);
  const walk = walkStages(model.graph, [ends, [mainOutput(model)]], batches, session);
  const probes = layers.map((layer) => choiceProbe(decisionsOf(model.graph, layer), layer.router.experts));
  for (const layer of layers) emitFloat(model, layer);
  try {
    await walk.run(model, 0, { probes, valid: null, passOn: true });
  } catch (fault) {
    walk.close();
    throw fault;
  }
  return { walk, choices: probes.map(({ seen }) => seen) };
}

/** A probe that averages a divergence over the positions that are no padding. */
function divergenceProbe(divergence: Value): Probe & { mean(): number } {
  let [sum, positions] = [0, 0];
  return {
    outputs: [divergence],
    take(results, batch) {
      const values = toFloats(results[divergence.name]);
      for (const { at } of positionsOf(batch, values.length)) {
        sum += values[at];
        positions += 1;
      }
    },
    mean: () => sum / positions,
  };
}

function notFinite(path: string): Fault {
  return new Fault({
    code: 'OUTPUT_NOT_FINITE',
    what: 'a quantized model cannot be compared with its reference: outputs are infinite or no numbers',
    where: path,
    remedy:
      'look at the model and the records: "moeq verify" of the model with itself tells which outputs they are',
  });
}
