import { identicalDb } from '../report/format.ts';

/** Signal-to-quantization-noise ratio in decibels: 10·log10(power / error). NaN without a signal. */
export function decibel(power: number, error: number): number {
  if (!(power > 0)) return Number.NaN;
  return error === 0 ? identicalDb : Math.min(10 * Math.log10(power / error), identicalDb);
}
