import type { Matrix } from '../tensor/matrix.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { quantizeRtn } from './rtn.ts';
import { absMaxScale, safeScale } from './scale-fit.ts';

/** Shares of the largest weight of a row that may become its largest code: 1 down to 0.35 (EAQuant's range). */
export const clipRatios: readonly number[] = Array.from({ length: 14 }, (_, i) => (20 - i) / 20);

/** A router's weight [experts, hidden] in 8 bits, one scale per expert, clipped at a share of its largest weight. */
export function quantizeRouter(weight: Matrix, ratio: number): QuantizedTensor {
  return quantizeRtn(weight, {
    bits: 8,
    groupSize: weight.cols,
    fit: (row, importance, grid) => safeScale(ratio * absMaxScale(row, importance, grid)),
    method: 'clip',
  });
}
