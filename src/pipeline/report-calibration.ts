import type { Balance } from '../calibrate/balance-records.ts';
import { coverageOf } from '../calibrate/balance-records.ts';
import type { LayerStats } from '../calibrate/layer-stats.ts';
import { isRotated } from '../emit/forms/rotated-form.ts';
import { median } from '../report/median.ts';
import type { Calibration as CalibrationReport } from '../report/report.ts';
import type { QuantizedModel } from './quantize-model.ts';
import type { RouterOutcome } from './routers/settle-routers.ts';
import type { DoneLayer } from './write-experts.ts';

type LayerCalibration = CalibrationReport['layers'][number];

const channelsShown = 8;

/**
 * What calibration saw and led to, for the report: tokens per expert against the floor, outlier channels before and after,
 * what was done to the routers.
 */
export function reportCalibration({ layers, balance, routers }: QuantizedModel): CalibrationReport | null {
  const [{ stats: first }] = layers;
  if (!first) return null;
  return { tokens: first.tokens, layers: layers.map((layer, i) => reportLayer(layer, i, balance, routers)) };
}

function reportLayer(
  { stats, smoothing, rotation, affinity }: DoneLayer,
  index: number,
  balance: Balance | null,
  routers: RouterOutcome,
): LayerCalibration {
  const { id, tokens, experts } = stats!;
  const balanced = balance?.layers.find((each) => each.id === id);
  const floor = balanced?.floor ?? 1;
  const coverage = coverageOf(
    experts.map((expert) => expert.tokens),
    floor,
  );
  return {
    id,
    tokens,
    floor,
    experts: { before: balanced?.before ?? coverage, after: balanced?.after ?? coverage },
    channels: channelsOf(stats!, smoothing.input),
    ...(isRotated(rotation) && { rotation }),
    ...(affinity && { affinity }),
    ...routerOf(routers, index),
  };
}

function routerOf({ realignment, clips }: RouterOutcome, i: number): Pick<LayerCalibration, 'router'> {
  if (!realignment && !clips) return {};
  const realigned = realignment?.[i];
  const clip = clips?.[i];
  return {
    router: {
      ...(realigned && { realignment: { ridge: realigned.ridge, agreement: realigned.agreement } }),
      ...(clip && {
        clip: { ratio: clip.ratio, squaredError: clip.squaredError, divergence: clip.divergence },
      }),
    },
  };
}

/** The channels with the largest activations, and the median channel, before and after smoothing. */
function channelsOf(
  { inputAbsMax }: LayerStats,
  scales: Float32Array | null,
): NonNullable<LayerCalibration['channels']> {
  const smoothed = inputAbsMax.map((value, j) => value / (scales?.[j] ?? 1));
  const order = Array.from(inputAbsMax.keys()).toSorted((a, b) => inputAbsMax[b] - inputAbsMax[a]);
  return {
    top: order.slice(0, channelsShown).map((channel) => ({
      channel,
      before: inputAbsMax[channel],
      after: smoothed[channel],
    })),
    median: { before: median([...inputAbsMax]), after: median([...smoothed]) },
  };
}
