import type { Batch } from '../data/batches.ts';
import { validFlags } from '../data/batches.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { Feeds, Results, RunTensor, SessionOptions } from '../runtime/session.ts';
import { openSession } from '../runtime/session.ts';

/** Inputs beside those of the records. */
export interface AddedInputs {
  /** Tells tokens from padding; null where there is none. */
  valid: Value | null;
  /** What else a batch is to be fed. */
  more?: (batch: Batch, index: number) => Feeds;
}

/** Runs a model over batches and hands over each one's outputs. */
export async function runBatches(
  model: Model,
  batches: Iterable<Batch>,
  { valid, more = () => ({}) }: AddedInputs,
  options: SessionOptions,
  use: (results: Results, batch: Batch, index: number) => void,
): Promise<void> {
  const session = await openSession(model, options);
  try {
    let index = 0;
    for (const batch of batches) {
      const feeds: Feeds = { ...batch.feeds, ...more(batch, index) };
      if (valid) feeds[valid.name] = validFlags(batch);
      // A part of a model has no need of all of them.
      const read = session.inputs.map((name): [string, RunTensor] => [name, feeds[name]]);
      use(await session.run(Object.fromEntries(read)), batch, index++);
    }
  } finally {
    await session.release();
  }
}
