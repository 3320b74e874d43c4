import type { Batch } from '../data/batches.ts';
import type { Part } from '../emit/grouped-ffn.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { lookAt } from '../run/look-at.ts';
import { walkStages } from '../run/stage-walk.ts';
import type { SessionOptions } from '../runtime/session.ts';
import type { ActivationErrors, QuantizedRows, TriedGrids } from './activation-probe.ts';
import { activationProbe } from './activation-probe.ts';

/** A written layer: what it quantizes, and its output. */
export interface MeasuredLayer {
  rows: Record<Part, QuantizedRows>;
  output: Value;
}

/**
 * Runs a written model, one layer at a time, and measures what rounding its activations costs on other grids: one entry
 * per layer. The model is left as it is.
 * @throws Fault ORT_*, CALIBRATION_STAGE
 */
export async function measureActivations(
  model: Model,
  layers: readonly MeasuredLayer[],
  tried: TriedGrids,
  batches: readonly Batch[],
  options: SessionOptions = {},
): Promise<ActivationErrors[]> {
  const ends = layers.map(({ output }) => [output]);
  const walk = walkStages(model.graph, ends, batches, options);
  const measured: ActivationErrors[] = [];
  try {
    for (const [index, { rows }] of layers.entries()) {
      const probe = await lookAt({ walk, model, batches }, index, { passOn: true }, (valid) =>
        activationProbe(model.graph, rows, tried, valid),
      );
      measured.push(probe.errors());
    }
    return measured;
  } finally {
    walk.close();
  }
}
