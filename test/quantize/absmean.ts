import { safeScale, type ScaleFit } from '../../src/quantize/scale-fit.ts';

/**
 * The ternary scale mean|w| of BitNet b1.58. It suits weights trained for it and ruins others; here only as the
 * baseline that an ablation compares with.
 */
export const absMeanScale: ScaleFit = (weights) => {
  const sum = weights.reduce((total, weight) => total + Math.abs(weight), 0);
  return safeScale(sum / weights.length);
};
