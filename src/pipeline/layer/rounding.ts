import type { QuantizeConfig } from '../../config/schema.ts';
import type { ResolvedTarget } from '../../emit/resolve-target.ts';
import { clipScale } from '../../quantize/clip-scale.ts';
import { quantizeGptq } from '../../quantize/gptq.ts';
import { ternaryGrid } from '../../quantize/grid.ts';
import type { Hessian } from '../../quantize/hessian.ts';
import { diagonalOf } from '../../quantize/hessian.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { refine } from '../../quantize/refine.ts';
import { quantizeRtn } from '../../quantize/rtn.ts';
import type { ScaleFit, WeightGroups } from '../../quantize/scale-fit.ts';
import { schemeOf } from '../../quantize/scheme.ts';
import { quantizeTernary, ternaryScale } from '../../quantize/ternary.ts';
import { ortGemm as gemm } from '../../runtime/ort-gemm.ts';
import type { Matrix } from '../../tensor/matrix.ts';

/** Turns one weight into codes. `hessian` is XᵀX of its input as it will arrive, or null where nothing is known of it. */
export type Rounding = (weight: Matrix, hessian: Hessian | null) => Promise<QuantizedTensor>;

/** True when columns make up for the errors of those before them, as in GPTQ. */
export function compensates({ scheme, rounding, ternary }: QuantizeConfig): boolean {
  return schemeOf(scheme).weight.ternary ? ternary.compensate : rounding.method === 'gptq';
}

/** True when a config's rounding is computed from XᵀX. */
export function needsHessian(config: QuantizeConfig): boolean {
  const { weight } = schemeOf(config.scheme);
  return compensates(config) || (weight.ternary && config.ternary.fit === 'hessian');
}

/**
 * The rounding a config asks for. Without a Hessian (an expert that no calibration token reached, or data-free
 * conversion) compensation gives way to the best fit of the weights alone, and the result says so in its `method`.
 */
export function roundingOf({ scheme, groupsOf }: ResolvedTarget, config: QuantizeConfig): Rounding {
  const round = scheme.weight.ternary ? ternaryRounding(config) : integerRounding(scheme.weight.bits, config);
  return (weight, hessian) => round(weight, hessian, groupsOf(weight.cols));
}

type GroupRounding = (
  weight: Matrix,
  hessian: Hessian | null,
  groups: WeightGroups,
) => Promise<QuantizedTensor>;

function integerRounding(bits: 2 | 3 | 4 | 8, { rounding }: QuantizeConfig): GroupRounding {
  const { method, damping, actOrder: activationOrder, sweeps } = rounding;
  return async (weight, hessian, groups) => {
    if (method === 'rtn') return quantizeRtn(weight, { bits, ...groups });
    if (method === 'clip' || !hessian) {
      return quantizeRtn(weight, { bits, ...groups, fit: clipScale, method: 'clip' });
    }
    const codes = await quantizeGptq(weight, hessian, {
      bits,
      ...groups,
      fit: clipScale,
      damping,
      activationOrder,
      gemm,
    });
    const refining = { sweeps, damping, refitScales: false, gemm };
    return sweeps === 0 ? codes : refine(weight, hessian, codes, refining);
  };
}

function ternaryRounding({ ternary, rounding }: QuantizeConfig): GroupRounding {
  const { damping, actOrder: activationOrder, sweeps } = rounding;
  return async (weight, hessian, groups) => {
    const hessianDiagonal = hessian && ternary.fit === 'hessian' ? diagonalOf(hessian) : null;
    if (!ternary.compensate || !hessian) return quantizeTernary(weight, { ...groups, hessianDiagonal });
    const fit: ScaleFit = (weights, importance, grid) =>
      ternaryScale(weights, ternary.fit === 'hessian' ? importance : null, grid);
    const options = {
      bits: 2,
      grid: ternaryGrid,
      ...groups,
      fit,
      damping,
      activationOrder,
      gemm,
      method: 'ternary-gptq',
    } as const;
    const codes = await quantizeGptq(weight, hessian, options);
    return sweeps === 0
      ? codes
      : refine(weight, hessian, codes, { sweeps, damping, grid: ternaryGrid, gemm });
  };
}
