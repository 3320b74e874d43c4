import type { Batch } from '../../data/batches.ts';
import { positionsOf } from '../../data/positions.ts';
import { valuesIn } from '../../onnx/values-in.ts';
import type { Probe } from '../../run/probe.ts';
import { agreementOf, choiceOf } from '../../verify/router-metrics.ts';
import type { RouterValues, TokenChoices } from '../../verify/router-values.ts';
import { readRouting } from '../../verify/router-values.ts';

/** What a router chose on each batch: a few numbers per token, so that those of all layers can be kept. */
export type Choices = ReadonlyMap<Batch, TokenChoices>;

/** A probe that notes what a router chooses. */
export function choiceProbe(values: RouterValues, experts: number): Probe & { seen: Choices } {
  const seen = new Map<Batch, TokenChoices>();
  return {
    seen,
    outputs: [...valuesIn(values)],
    take(results, batch) {
      const { logits: _, ...choices } = readRouting(values, experts, results);
      seen.set(batch, choices);
    },
  };
}

/** A probe that tells how far a router chooses what another one did, over all tokens. */
export function agreementProbe(
  values: RouterValues,
  experts: number,
  others: Choices,
): Probe & { mean(): number } {
  let [sum, tokens] = [0, 0];
  return {
    outputs: [...valuesIn(values)],
    take(results, batch) {
      const other = others.get(batch)!;
      const own = readRouting(values, experts, results);
      for (const { at } of positionsOf(batch, own.tokens)) {
        sum += agreementOf(choiceOf(other, at), choiceOf(own, at));
        tokens += 1;
      }
    },
    mean: () => sum / tokens,
  };
}
