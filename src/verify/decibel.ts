import { identicalDb } from '../report/format.ts';

/** Signal-to-quantization-noise ratio in decibels: 10·log10(power / error). NaN without a signal, or where one is not finite. */
export function decibel(power: number, error: number): number {
  if (!(power > 0) || !Number.isFinite(power + error)) return Number.NaN;
  return error === 0 ? identicalDb : Math.min(10 * Math.log10(power / error), identicalDb);
}
