import type { ModelRecord } from '../moe/model-record.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { storageOf } from './forms/pack-codes.ts';
import type { ResolvedTarget, Target } from './resolve-target.ts';

/**
 * What really happens in a written model on ONNX Runtime's CPU provider: executed in low precision, or emulated.
 * `hasFewRows`: integer experts were written a second way, see `fewRowsWriter`.
 */
export function executionOf(resolved: ResolvedTarget, hasFewRows = false): ModelRecord['execution'] {
  const { target, scheme } = resolved;
  const { bits, ternary } = scheme.weight;
  const codes = ternary ? 'ternary codes' : `${bits}-bit codes`;
  return {
    target,
    weights:
      weightsOf(target, bits, codes) +
      (hasFewRows ? ', for few tokens in blocks as stored where that gains' : ''),
    activations: activationsOf(resolved),
    executed: target === 'int',
    provider: 'cpu',
  };
}

/** See `unsignedWay`; narrower weights always fit. */
const unsigned = ', as uint8 on processors where int8 would saturate';

function weightsOf(target: Target, bits: QuantizedTensor['bits'], codes: string): string {
  const stored = storageOf({ bits });
  switch (target) {
    case 'int':
      return `${stored}, ${codes}; multiplied as int8${bits === 8 ? unsigned : ''}`;
    case 'qdq':
      return `${stored}, ${codes}; multiplied as float32`;
    case 'packed':
      return `${codes}, five to a byte; multiplied as 2-bit blocks`;
    default:
      return `${codes} in blocks`;
  }
}

function activationsOf({ target, scheme, block }: ResolvedTarget): string {
  const { weight, activationBits: bits } = scheme;
  const grids = `one grid per ${block === null ? 'token' : `up to ${block} channels`}`;
  if (target === 'int')
    return `${bits}-bit codes, ${grids}; held as uint8${block === null ? '' : ', in steps of the token'}`;
  const values = bits === null ? 'float32' : `float32 values of ${bits}-bit codes, ${grids} (emulated)`;
  if (target === 'nbits' || target === 'packed')
    return `${values}, rounded to 8 bits per block by the operator`;
  return target === 'qmoe' && weight.bits === 2
    ? `${values}, looked up in tables of 8 bits by the operator where weights are in blocks`
    : values;
}
