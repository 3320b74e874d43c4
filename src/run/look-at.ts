import type { Batch } from '../data/batches.ts';
import { additionsTo } from '../onnx/additions.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { Probe } from './probe.ts';
import { addValidInput } from './probe.ts';
import type { StageRun, StageWalk } from './stage-walk.ts';

/**
 * Runs one stage of a walk with a probe that is taken off the model again. For what `attach` is given see `addValidInput`.
 * @throws Fault those of {@link StageWalk}
 */
export async function lookAt<P extends Probe>(
  { walk, model, batches }: { walk: StageWalk; model: Model; batches: readonly Batch[] },
  index: number,
  purpose: Pick<StageRun, 'only' | 'passOn'>,
  attach: (valid: Value | null) => P,
): Promise<P> {
  const takeOff = additionsTo(model.graph);
  const valid = addValidInput(model, batches);
  const probe = attach(valid);
  try {
    await walk.run(model, index, { ...purpose, probes: [probe], valid });
    return probe;
  } finally {
    takeOff();
  }
}
