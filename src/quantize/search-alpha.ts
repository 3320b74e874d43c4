/** Smoothing strengths tried by default; 0 stands for no smoothing. */
export const alphaGrid: readonly number[] = [0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];

export interface AlphaSearch {
  alpha: number;
  /** What every strength cost, in the order they were tried. */
  trials: { alpha: number; loss: number }[];
}

/**
 * The smoothing strength with the least `loss`, a measure of the layer's quantized output against the float one.
 * The first of equals wins, and a loss that is not a number never does; 0 wins where nothing else can be judged.
 */
export async function searchAlpha(
  loss: (alpha: number) => number | Promise<number>,
  grid: readonly number[] = alphaGrid,
): Promise<AlphaSearch> {
  const trials = [];
  for (const alpha of grid) trials.push({ alpha, loss: await loss(alpha) });
  const best = trials.reduce((least, trial) => (trial.loss < least.loss ? trial : least), {
    alpha: 0,
    loss: Infinity,
  });
  return { alpha: best.alpha, trials };
}
