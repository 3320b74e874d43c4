import type { Grid } from './grid.ts';
import { absMaxScale, safeScale, type ScaleFit } from './scale-fit.ts';

/** Clip ratios tried, from 1 down. */
const ratios = Array.from({ length: 15 }, (_, i) => 1 - i / 20);

/**
 * The step with the least squared error Σ importance · (w − ŵ)², which may clip the largest weights: a search over
 * shares 1 … 0.3 of the absmax step, then closed-form refits scale = Σ i·w·code / Σ i·code² while they help; with
 * either sign where the grid is not symmetric. Never worse than {@link absMaxScale}.
 */
export const clipScale: ScaleFit = (weights, importance, grid) => {
  const absMax = absMaxScale(weights, importance, grid);
  const positive = bestFit(absMax, weights, importance, grid);
  if (grid.least === -grid.most) return positive.scale;
  const negative = bestFit(-absMax, weights, importance, grid);
  return negative.error < positive.error ? negative.scale : positive.scale;
};

function bestFit(
  widest: number,
  weights: Float32Array,
  importance: ArrayLike<number> | null,
  grid: Grid,
): Fit {
  let best = fitAt(widest, weights, importance, grid);
  for (const ratio of ratios) {
    const trial = fitAt(safeScale(ratio * widest), weights, importance, grid, best.error);
    if (trial.error < best.error) best = trial;
  }
  for (let next = best; ;) {
    next = fitAt(safeScale(next.refit), weights, importance, grid, best.error);
    if (!(next.error < best.error)) return best;
    best = next;
  }
}

/** How well a scale holds a group. */
interface Fit {
  scale: number;
  /** Σ importance · (w − ŵ)². */
  error: number;
  /** The best scale for the codes that `scale` gives. */
  refit: number;
}

/** Weights between two looks at how large the error has become. */
const blockSize = 64;

/** The fit of a scale. Once its error reaches `limit` it is of no use, and what is left of the weights is not looked at. */
export function fitAt(
  scale: number,
  weights: Float32Array,
  importance: ArrayLike<number> | null,
  grid: Grid,
  limit = Infinity,
): Fit {
  const inverse = 1 / scale;
  const { least, most } = grid;
  let [error, projection, norm] = [0, 0, 0];
  for (let i = 0; i < weights.length; i++) {
    if (i % blockSize === 0 && error >= limit) break;
    const share = importance ? importance[i] : 1;
    const weight = weights[i];
    const code = Math.max(least, Math.min(Math.round(weight * inverse), most));
    const rest = weight - code * scale;
    error += share * rest * rest;
    projection += share * weight * code;
    norm += share * code * code;
  }
  return { scale, error, refit: norm > 0 ? projection / norm : scale };
}
