import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { Fault } from '../fault.ts';
import { floatToHalf, halfToFloat } from '../tensor/half.ts';
import type { QuantizedExpert, QuantizedLinear } from './quantized-expert.ts';

/**
 * An expert whose scales are float16 numbers, for targets that store them so.
 * @throws Fault SCALE_RANGE when a scale is too large or too small for that
 */
export function roundScales({ gate, up, down }: QuantizedExpert): QuantizedExpert {
  return { gate: gate && roundLinear(gate), up: roundLinear(up), down: roundLinear(down) };
}

function roundLinear({ weight, bias }: QuantizedLinear): QuantizedLinear {
  return { weight: { ...weight, scales: weight.scales.map(toHalf) }, bias };
}

/** Below it float16 loses digits. */
const smallestNormal = 2 ** -14;

function toHalf(scale: QuantizedTensor['scales'][number]): number {
  const rounded = halfToFloat(floatToHalf(scale));
  if (Number.isFinite(rounded) && rounded >= smallestNormal) return rounded;
  throw new Fault({
    code: 'SCALE_RANGE',
    what: `the weight scale ${scale} cannot be stored as float16`,
    remedy: 'use target nbits, which stores float32 scales',
  });
}
