import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { ActivationGrid } from '../../quantize/activation.ts';
import { codeOf } from '../../tensor/dtype.ts';
import { blockwise, rowGrids, zeroPointsOf } from './quantize-tokens.ts';

/**
 * The float32 values that dynamic quantization of rows [n, width] stands for, by standard QuantizeLinear and
 * DequantizeLinear with computed scales and zero points; `x` itself without a grid.
 */
export function fakeQuantize(b: Builder, x: Value, grid: ActivationGrid | null): Value {
  if (!grid) return x;
  const grids = rowGrids(b, x, grid);
  const zeroPoints = zeroPointsOf(b, grids);
  const points = zeroPoints ? [grids.scales, b.cast(zeroPoints, 'uint4')] : [grids.scales];
  const type = zeroPoints ? {} : { output_dtype: codeOf('int8') };
  const options = { name: 'codes' };
  const codes = b.op('QuantizeLinear', [x, ...points], { ...blockwise(grid), ...type }, options);
  return b.op('DequantizeLinear', [codes, ...points], blockwise(grid), { name: 'grid' });
}
