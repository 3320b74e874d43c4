import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { OtherWay } from '../linear-form.ts';

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
      const bytes = inner.cast(columns, 'uint8');
      const unsigned = inner.op('BitwiseXor', [bytes, offset], {}, { name: `${name}/uint8` });
      return inner.op('MatMulInteger', [operand, unsigned, zeroPoint!, offset], {}, { name });
    },
  };
}

/**
 * Whether the largest sum of uint8 times int8 comes out wrong, as it does on x86 processors without VNNI, which add pairs
 * of products in 16 bits. Of constants alone: ONNX Runtime computes it when it loads the model, on the processor it will
 * run on.
 */
export function saturates(b: Builder): Value {
  const [rows, depth] = [2, 4];
  const largest = b.constant('largest', 'uint8', [rows, depth], Array<number>(rows * depth).fill(255));
  const weights = b.constant('weights', 'int8', [depth, 1], Array<number>(depth).fill(127));
  const sums = b.op('MatMulInteger', [largest, weights]);
  const least = b.op('ReduceMin', [sums, b.ints([0, 1])], { keepdims: 0 });
  return b.op(
    'Less',
    [least, b.constant('sum', 'int32', [], [depth * 255 * 127])],
    {},
    { name: 'saturates' },
  );
}
