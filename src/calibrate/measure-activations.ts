import type { Batch } from '../data/batches.ts';
import type { Part } from '../emit/grouped-ffn.ts';
import { extractModel } from '../onnx/extract.ts';
import type { Model } from '../onnx/model.ts';
import { runBatches } from '../run/run-batches.ts';
import { addValidInput } from '../run/valid-input.ts';
import type { SessionOptions } from '../runtime/session.ts';
import type { ActivationErrors, QuantizedRows, TriedGrids } from './activation-probe.ts';
import { activationProbe } from './activation-probe.ts';

/**
 * Runs a written model and measures what rounding its activations costs on other grids: one entry per layer. The model
 * is left as it is.
 * @throws Fault ORT_*
 */
export async function measureActivations(
  model: Model,
  layers: readonly Record<Part, QuantizedRows>[],
  tried: TriedGrids,
  batches: readonly Batch[],
  options: SessionOptions = {},
): Promise<ActivationErrors[]> {
  const inputs = layers.flatMap(({ input, hidden }) => [input, hidden]);
  const values = [...new Set(inputs.flatMap(({ rows, tokens }) => (tokens ? [rows, tokens] : [rows])))];
  const copy = extractModel(model, values, []);
  const copyOf = new Map(values.map((value, i) => [value, copy.graph.outputs[i]]));
  const copied = ({ rows, tokens }: QuantizedRows): QuantizedRows => ({
    rows: copyOf.get(rows)!,
    tokens: tokens && copyOf.get(tokens)!,
  });
  const valid = addValidInput(copy, batches);
  const probes = layers.map(({ input, hidden }) =>
    activationProbe(copy.graph, { input: copied(input), hidden: copied(hidden) }, tried, valid),
  );
  copy.graph.outputs = probes.flatMap(({ outputs }) => outputs);
  await runBatches(copy, batches, { valid }, options, (results, batch) => {
    for (const probe of probes) probe.take(results, batch);
  });
  return probes.map((probe) => probe.errors());
}
