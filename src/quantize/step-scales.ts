import type { Matrix } from '../tensor/matrix.ts';
import { fitAt } from './clip-scale.ts';
import { groupCountOf } from './grid.ts';
import type { FitOptions, ScaleFit } from './scale-fit.ts';
import { fitScales, safeScale } from './scale-fit.ts';

/**
 * Groups whose scales are whole multiples of one step per row, after VS-Quant (Dai et al. 2021, arXiv 2102.04503): a code
 * times its multiple is an integer too, so that products of a whole row still add up in integers. Multiples are stored in
 * 4 bits, and with codes of 4 bits make at most 64: two products with a byte fit in 16 bits.
 */
const mostMultiple = 8;

const multiples = Array.from({ length: 2 * mostMultiple }, (_, i) => i - mostMultiple).filter((m) => m !== 0);

/** The step of each row, [rows]: its largest scale, as `fit` has it, is the multiple before the last. */
export function rowSteps(weight: Matrix, options: FitOptions): Float32Array {
  const scales = fitScales(weight, options);
  const groups = groupCountOf(weight.cols, options.groupSize);
  return Float32Array.from({ length: weight.rows }, (_, r) => {
    const row = scales.subarray(r * groups, (r + 1) * groups);
    return safeScale(row.reduce((most, scale) => Math.max(most, Math.abs(scale)), 0) / (mostMultiple - 1));
  });
}

/**
 * The multiple of a step with the least squared error of a group. Weights without any importance are fitted as if all
 * mattered alike.
 */
export function stepScale(step: number): ScaleFit {
  return (weights, importance, grid) => {
    let best = { scale: 0, error: Infinity };
    for (const multiple of multiples) {
      const fit = fitAt(multiple * step, weights, importance, grid, best.error);
      if (fit.error < best.error) best = fit;
    }
    return best.error === 0 && importance ? stepScale(step)(weights, null, grid) : best.scale;
  };
}

/** The same for the groups of all rows, with the steps [rows]. */
export function inStepsOf(steps: Float32Array): FitOptions['fit'] {
  return (weights, importance, grid, row) => stepScale(steps[row])(weights, importance, grid);
}

/** The multiple of a step that is nearest to a scale, on its side of zero. */
export function nearestMultiple(scale: number, step: number): number {
  const most = scale < 0 ? mostMultiple : mostMultiple - 1;
  return Math.sign(scale) * Math.min(Math.max(Math.round(Math.abs(scale) / step), 1), most) * step;
}

/** What the scales are multiples of their steps by, [rows, groups]. */
export function multiplesOf(scales: Float32Array, steps: Float32Array): Int8Array {
  const groups = scales.length / steps.length;
  return Int8Array.from(scales, (scale, i) => Math.round(scale / steps[Math.floor(i / groups)]));
}
