import type { QuantizeConfig } from '../config/schema.ts';
import { clipScale } from '../quantize/clip.ts';
import { quantizeGptq } from '../quantize/gptq.ts';
import type { Hessian } from '../quantize/hessian.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { quantizeRtn } from '../quantize/rtn.ts';
import type { Scheme } from '../quantize/scheme.ts';
import { quantizeTernary } from '../quantize/ternary.ts';
import type { Matrix } from '../tensor/matrix.ts';

/** Turns one weight into codes. `hessian` is XᵀX of its (smoothed) input, or null where nothing is known of it. */
export type Rounding = (weight: Matrix, hessian: Hessian | null) => Promise<QuantizedTensor>;

/**
 * The rounding a config asks for. Without a Hessian (an expert that no calibration token reached, or data-free
 * conversion) GPTQ gives way to the clip search, and the result says so in its `method`.
 */
export function roundingOf(
  scheme: Scheme,
  config: QuantizeConfig,
  groupSizeOf: (cols: number) => number,
): Rounding {
  const { method, damping, actOrder } = config.rounding;
  return async (weight, hessian) => {
    const groupSize = groupSizeOf(weight.cols);
    const { bits } = scheme.weight;
    if (scheme.weight.ternary) return quantizeTernary(weight, { groupSize });
    if (method === 'rtn') return quantizeRtn(weight, { bits, groupSize });
    if (method === 'clip' || !hessian)
      return quantizeRtn(weight, { bits, groupSize, fit: clipScale, method: 'clip' });
    return quantizeGptq(weight, hessian, {
      bits,
      groupSize,
      fit: clipScale,
      damping,
      activationOrder: actOrder,
    });
  };
}
