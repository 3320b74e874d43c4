import { coverageOf } from '../calibrate/balance-records.ts';
import type { LayerStats } from '../calibrate/layer-stats.ts';
import { isRotated } from '../emit/rotated-form.ts';
import { median } from '../report/median.ts';
import type { Calibration as CalibrationReport } from '../report/report.ts';
import type { QuantizedModel } from './quantize-model.ts';
import type { ClippedLayer } from './clips.ts';
import type { RouterOutcome } from './settle-routers.ts';

type LayerCalibration = CalibrationReport['layers'][number];

const channelsShown = 8;

/**
 * What calibration saw and led to, for the report: tokens per expert against the floor, outlier channels before and after,
 * what was done to the routers.
 */
export function reportCalibration({
  calibration,
  smoothing,
  routers,
  rotation,
  affinity,
  clipped,
}: QuantizedModel): CalibrationReport | null {
  if (!calibration) return null;
  const { stats, balance } = calibration;
  const layers = stats.map((layer, i): LayerCalibration => {
    const balanced = balance?.layers.find(({ id }) => id === layer.id);
    const coverage = coverageOf(
      layer.experts.map(({ tokens }) => tokens),
      balanced?.floor ?? 1,
    );
    return {
      id: layer.id,
      tokens: layer.tokens,
      floor: balanced?.floor ?? 1,
      experts: { before: balanced?.before ?? coverage, after: balanced?.after ?? coverage },
      channels: channelsOf(layer, smoothing[i].input),
      ...(isRotated(rotation[i]) && { rotation: rotation[i] }),
      ...(affinity[i] && { affinity: true }),
      ...(clipped && { activations: clippingOf(clipped[i]) }),
      ...routerOf(routers, i),
    };
  });
  return { tokens: stats[0].tokens, layers };
}

function clippingOf({ clips, error }: ClippedLayer): NonNullable<LayerCalibration['activations']> {
  return {
    input: { ratio: clips.input, error: error.input },
    hidden: { ratio: clips.hidden, error: error.hidden },
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
