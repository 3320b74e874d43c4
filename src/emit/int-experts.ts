import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { packNibbles } from '../tensor/pack.ts';
import { emitActivation } from './activation.ts';
import type { ExpertEmitter } from './expert-emitter.ts';
import type { QuantizedExpert, QuantizedLinear } from './quantized-expert.ts';
import type { TokenCodes } from './quantize-tokens.ts';
import { quantizeTokens, zeroPointOf } from './quantize-tokens.ts';

export interface IntOptions {
  activationBits: number;
  /** The quantized weights of an expert; called once per expert, in order, so that one at a time is in memory. */
  weightsOf: (expert: Expert) => QuantizedExpert;
}

/**
 * Experts in integer arithmetic: uint8 token codes times INT4 (or INT8) weights in MatMulInteger, summed exactly in
 * int32, then one float32 scale per token and one per output channel.
 * The INT4 initializer passes a Cast to INT8 that ONNX Runtime folds when it loads the model.
 */
export function intExperts(layer: MoeLayer, { activationBits, weightsOf }: IntOptions): ExpertEmitter {
  return {
    prepare(b, tokens) {
      const { codes, scales } = quantizeTokens(b, tokens, activationBits);
      return [codes, scales];
    },
    expert(b, expert, [codes, rowScales], { inputWeight }) {
      const weights = weightsOf(expert);
      // A weight on the expert's input changes the scale of a token and leaves its codes.
      const scales = inputWeight ? b.op('Mul', [rowScales, inputWeight], {}, { name: 'scales' }) : rowScales;
      const input = { codes, scales };
      const gate = weights.gate && intLinear(b, 'gate', weights.gate, input, activationBits);
      const up = intLinear(b, 'up', weights.up, input, activationBits);
      const hidden = emitActivation(b, layer.activation, gate, up);
      return intLinear(b, 'down', weights.down, quantizeTokens(b, hidden, activationBits), activationBits);
    },
  };
}

function intLinear(
  b: Builder,
  name: string,
  { weight, bias }: QuantizedLinear,
  { codes, scales }: TokenCodes,
  activationBits: number,
): Value {
  const zeroPoint = b.constant(`${name}/zero_point`, 'uint8', [], [zeroPointOf(activationBits)]);
  const sums = b.op(
    'MatMulInteger',
    [codes, weightCodes(b, name, weight), zeroPoint],
    {},
    { name: `${name}/sums` },
  );
  const perToken = b.op('Mul', [b.op('Cast', [sums], { to: 1 }), scales], {}, { name: `${name}/per_token` });
  const channelScales = b.constant(`${name}/scales`, 'float32', [weight.rows], weight.scales);
  if (!bias) return b.op('Mul', [perToken, channelScales], {}, { name });
  const product = b.op('Mul', [perToken, channelScales], {}, { name: `${name}/product` });
  return b.op('Add', [product, b.constant(`${name}/bias`, 'float32', [weight.rows], bias)], {}, { name });
}

/** Codes as an int8 value [in, out], the layout MatMulInteger wants on its right. */
function weightCodes(b: Builder, name: string, { rows, cols, bits, codes }: QuantizedTensor): Value {
  const transposed = new Int8Array(codes.length);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++) transposed[c * rows + r] = codes[r * cols + c];
  if (bits === 8) return b.constant(`${name}/weight`, 'int8', [cols, rows], transposed);
  const packed = b.constant(`${name}/weight`, 'int4', [cols, rows], packNibbles(transposed));
  return b.op('Cast', [packed], { to: 3 }, { name: `${name}/int8` });
}
