import type { Batch } from '../data/batches.ts';
import type { Part } from '../emit/grouped-ffn.ts';
import { extractModel } from '../onnx/extract.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { walkStages } from '../run/stage-walk.ts';
import { addValidInput } from '../run/valid-input.ts';
import type { SessionOptions } from '../runtime/session.ts';
import type { ActivationErrors, ActivationProbe, QuantizedRows, TriedGrids } from './activation-probe.ts';
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
  const outputs = layers.map(({ output }) => output);
  const walk = walkStages(
    model.graph,
    outputs.map((output) => [output]),
    batches,
    options,
  );
  const measured: ActivationErrors[] = [];
  try {
    for (const [index, { rows }] of layers.entries()) {
      const { copy, probe, valid } = probedCopy(model, rows, outputs, tried, batches);
      await walk.run(copy, index, { probes: [probe], valid, passOn: true });
      measured.push(probe.errors());
    }
    return measured;
  } finally {
    walk.close();
  }
}

interface ProbedCopy {
  copy: Model;
  probe: ActivationProbe;
  /** See `addValidInput`. */
  valid: Value | null;
}

/** A copy of a model that computes `outputs`, and what a probe sees of one layer. */
function probedCopy(
  model: Model,
  { input, hidden }: Record<Part, QuantizedRows>,
  outputs: readonly Value[],
  tried: TriedGrids,
  batches: readonly Batch[],
): ProbedCopy {
  const seen = [input, hidden].flatMap(({ rows, tokens }) => (tokens ? [rows, tokens] : [rows]));
  const values = [...new Set([...outputs, ...seen])];
  const copy = extractModel(model, values, []);
  const copyOf = new Map(values.map((value, i) => [value, copy.graph.outputs[i]]));
  const copied = ({ rows, tokens }: QuantizedRows): QuantizedRows => ({
    rows: copyOf.get(rows)!,
    tokens: tokens && copyOf.get(tokens)!,
  });
  const valid = addValidInput(copy, batches);
  const probe = activationProbe(copy.graph, { input: copied(input), hidden: copied(hidden) }, tried, valid);
  return { copy, probe, valid };
}
