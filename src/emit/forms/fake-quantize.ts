import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { ActivationGrid } from '../../quantize/activation.ts';
import { codeOf } from '../../tensor/dtype.ts';
import { rowGrids, zeroPointsOf } from './quantize-tokens.ts';

/**
 * The float32 values that dynamic quantization of rows [n, width] stands for, by standard QuantizeLinear and
 * DequantizeLinear with computed scales and zero points; `x` itself without a grid.
 */
export function fakeQuantize(b: Builder, x: Value, grid: ActivationGrid | null): Value {
  if (!grid) return x;
  const grids = rowGrids(b, x, grid);
  const attributes = { axis: 1, block_size: grid.block };
  const zeroPoints = zeroPointsOf(b, grids);
  const zeros = zeroPoints && b.op('Cast', [zeroPoints], { to: codeOf('uint4') });
  const type = zeros ? {} : { output_dtype: codeOf('int8') };
  const points = zeros ? [grids.scales, zeros] : [grids.scales];
  const codes = b.op('QuantizeLinear', [x, ...points], { ...attributes, ...type }, { name: 'codes' });
  return b.op('DequantizeLinear', [codes, ...points], attributes, { name: 'grid' });
}
