import { absMaxScale, safeScale, type ScaleFit } from './scale-fit.ts';

/** Clip ratios tried, from 1 down. */
const ratios = Array.from({ length: 15 }, (_, i) => 1 - i / 20);

/**
 * The step with the least squared error Σ importance · (w − ŵ)², which may clip the largest weights: a search over
 * shares 1 … 0.3 of the absmax step, then closed-form refits scale = Σ i·w·code / Σ i·code² while they help.
 * Never worse than {@link absMaxScale}.
 */
export const clipScale: ScaleFit = (weights, importance, maxCode) => {
  const absMax = absMaxScale(weights, importance, maxCode);
  let best = fitAt(absMax, weights, importance, maxCode);
  for (const ratio of ratios) {
    const trial = fitAt(safeScale(ratio * absMax), weights, importance, maxCode);
    if (trial.error < best.error) best = trial;
  }
  for (let next = best; ;) {
    next = fitAt(safeScale(next.refit), weights, importance, maxCode);
    if (!(next.error < best.error)) return best.scale;
    best = next;
  }
};

interface Fit {
  scale: number;
  error: number;
  /** The best scale for the codes that `scale` gives. */
  refit: number;
}

function fitAt(
  scale: number,
  weights: Float32Array,
  importance: ArrayLike<number> | null,
  maxCode: number,
): Fit {
  const inverse = 1 / scale;
  let [error, projection, norm] = [0, 0, 0];
  for (let i = 0; i < weights.length; i++) {
    const share = importance ? importance[i] : 1;
    const magnitude = Math.abs(weights[i]);
    const code = Math.min(Math.round(magnitude * inverse), maxCode);
    const rest = magnitude - code * scale;
    error += share * rest * rest;
    projection += share * magnitude * code;
    norm += share * code * code;
  }
  return { scale, error, refit: norm > 0 ? projection / norm : scale };
}
