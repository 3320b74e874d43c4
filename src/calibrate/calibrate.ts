import type { Batch } from '../data/batches.ts';
import { Fault } from '../fault.ts';
import { ffnExperts } from '../moe/ffn-experts.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import type { RunOptions } from '../run/run-probes.ts';
import { runProbes } from '../run/run-probes.ts';
import type { LayerStats } from './layer-stats.ts';
import type { StatsProbe } from './stats-probe.ts';
import { statsProbe } from './stats-probe.ts';

export interface CalibrateOptions extends RunOptions {
  /** Collect XᵀX of every expert linear's input. */
  gram?: boolean;
  /** Weigh tokens by their routing in it; see `tapLayer`. */
  affinity?: boolean;
}

/**
 * Runs a model over calibration batches and returns the statistics of its MoE layers. They are computed by nodes
 * added to the graph; only their sums and maxima come into JavaScript.
 * @throws Fault CALIBRATION_EMPTY, and those of {@link runProbes}
 */
export async function calibrate(
  open: () => PreparedModel,
  batches: readonly Batch[],
  { gram = false, affinity = false, ...options }: CalibrateOptions = {},
): Promise<LayerStats[]> {
  requireBatches(batches);
  const probes: StatsProbe[] = [];
  await runProbes(
    open,
    batches,
    (model, layer, index, valid) => {
      const experts = new Set(expertIds(layer));
      return (probes[index] = statsProbe(model, layer, { gram, affinity, valid, experts }));
    },
    options,
  );
  return probes.map((probe) => probe.stats());
}

/** Of the experts that have matrices. */
export function expertIds(layer: MoeLayer): string[] {
  return ffnExperts(layer).map(({ id }) => id);
}

/** @throws Fault CALIBRATION_EMPTY */
export function requireBatches(batches: readonly Batch[]): void {
  if (batches.length === 0)
    throw new Fault({
      code: 'CALIBRATION_EMPTY',
      what: 'there are no calibration records',
      remedy: 'give some',
    });
}
