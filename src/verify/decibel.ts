/** A ratio that cannot be told from exact in float32 is reported as this many decibels. */
const exact = 200;

/** Signal-to-quantization-noise ratio in decibels: 10·log10(power / error), at most 200. NaN without a signal. */
export function decibel(power: number, error: number): number {
  if (!(power > 0)) return Number.NaN;
  return error === 0 ? exact : Math.min(10 * Math.log10(power / error), exact);
}
