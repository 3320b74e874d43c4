import type { Linear, MoeLayer } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { bytesOf } from '../onnx/tensor.ts';
import { readMatrix, readVector } from '../tensor/view.ts';
import { emitActivation } from './activation.ts';
import type { ExpertEmitter, RoutedInput } from './expert-emitter.ts';

/** Called with each expert's two linear inputs, so that statistics can be attached to them. */
export type ExpertTap = (
  b: Builder,
  linearInputs: { input: Value; hidden: Value },
  routed: RoutedInput,
) => void;

/** The experts in float, as in the source: what calibration runs. */
export function floatExperts(layer: MoeLayer, tap: ExpertTap = () => {}): ExpertEmitter {
  return {
    prepare: (_, tokens) => [tokens],
    expert(b, expert, [rows], routed) {
      const input = routed.inputWeight
        ? b.op('Mul', [rows, routed.inputWeight], {}, { name: 'input' })
        : rows;
      const gate = expert.gate && emitLinear(b, 'gate', expert.gate, input);
      const up = emitLinear(b, 'up', expert.up!, input);
      const hidden = emitActivation(b, layer.activation, gate, up);
      tap(b, { input, hidden }, routed);
      return emitLinear(b, 'down', expert.down!, hidden);
    },
  };
}

function emitLinear(b: Builder, name: string, { weight, bias }: Linear, x: Value): Value {
  const { rows, cols } = weight;
  const w = b.constant(`${name}/weight`, 'float32', [rows, cols], {
    byteLength: rows * cols * 4,
    read: (offset = 0, length = rows * cols * 4 - offset) =>
      bytesOf(readMatrix(weight).data).subarray(offset, offset + length),
  });
  const inputs = bias ? [x, w, b.constant(`${name}/bias`, 'float32', [rows], readVector(bias.view))] : [x, w];
  return b.op('Gemm', inputs, { transB: 1 }, { name });
}
