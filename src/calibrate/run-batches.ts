import type { Batch } from '../data/batches.ts';
import { validRows } from '../data/batches.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { RunTensor, SessionOptions } from '../runtime/session.ts';
import { openSession } from '../runtime/session.ts';

/** Runs a model over batches and hands over each one's outputs; `valid` is the input that tells tokens from padding. */
export async function runBatches(
  model: Model,
  batches: Iterable<Batch>,
  valid: Value | null,
  options: SessionOptions,
  use: (results: Record<string, RunTensor>) => void,
): Promise<void> {
  const session = await openSession(model, options);
  try {
    for (const batch of batches) {
      const feeds = valid ? { ...batch.feeds, [valid.name]: validRows(batch) } : batch.feeds;
      use(await session.run(feeds));
    }
  } finally {
    await session.release();
  }
}
