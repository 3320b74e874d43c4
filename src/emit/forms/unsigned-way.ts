import type { Value } from '../../onnx/value.ts';
import { codeOf } from '../../tensor/dtype.ts';
import type { OtherWay } from '../grouped-ffn.ts';
import { saturates } from './saturates.ts';

/**
 * Products of 8-bit weights, int8 [in, out], where `intForm` would saturate: x86 processors without VNNI add pairs of
 * uint8 times int8 in 16 bits, but uint8 times uint8 in 32. The latter is no slower there, and much slower where VNNI
 * is. So the graph tries: the condition is a constant, and ONNX Runtime keeps one of the branches.
 */
export function unsignedWay(name: string, columns: Value): OtherWay {
  return {
    when: saturates,
    prepare: (_, input) => input,
    product(inner, { operand, zeroPoint }) {
      const offset = inner.constant('offset', 'uint8', [], [128]);
      const bytes = inner.op('Cast', [columns], { to: codeOf('uint8') });
      const unsigned = inner.op('BitwiseXor', [bytes, offset], {}, { name: `${name}/uint8` });
      return inner.op('MatMulInteger', [operand, unsigned, zeroPoint!, offset], {}, { name });
    },
  };
}
