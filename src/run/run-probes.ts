import type { Batch } from '../data/batches.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { lookAt } from './look-at.ts';
import type { AttachProbe } from './probe.ts';
import { addValidInput } from './probe.ts';
import { runBatches } from './run-batches.ts';
import { walkLayers } from './stage-walk.ts';

export interface RunOptions extends SessionOptions {
  /** Run the model one MoE layer at a time; see `StageWalk`. */
  byLayer?: boolean;
  /** Told how many batches are done, of each layer where these are run apart. */
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
  { byLayer = false, ...options }: RunOptions = {},
): Promise<void> {
  await (byLayer ? runByLayer : runAtOnce)(open, batches, attach, options);
}

type Run = (
  open: () => PreparedModel,
  batches: readonly Batch[],
  attach: AttachProbe,
  options: Omit<RunOptions, 'byLayer'>,
) => Promise<void>;

const runAtOnce: Run = async (open, batches, attach, { onStep, ...session }) => {
  const { model, layers } = open();
  const valid = addValidInput(model, batches);
  const probes = layers.map((layer, index) => attach(model, layer, index, valid));
  model.graph.outputs = [...new Set(probes.flatMap(({ outputs }) => outputs))];
  if (model.graph.outputs.length === 0) return;
  model.graph.removeDeadCode();
  await runBatches(model, batches, { valid }, session, (results, batch, at) => {
    for (const probe of probes) probe.take(results, batch);
    onStep?.(at + 1, batches.length);
  });
};

const runByLayer: Run = async (open, batches, attach, { onStep, ...session }) => {
  const walked = open();
  const walk = walkLayers(walked, batches, session);
  try {
    for (const index of walked.layers.keys()) {
      const { model, layers } = open();
      await lookAt({ walk, model, batches }, index, { passOn: true }, (valid) =>
        attach(model, layers[index], index, valid),
      );
      onStep?.((index + 1) * batches.length, layers.length * batches.length);
    }
  } finally {
    walk.close();
  }
};
