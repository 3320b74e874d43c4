import Long from 'long';
import { describe, expect, test } from 'vitest';
import type { AttributeValue, Builder } from '../../src/onnx/build.ts';
import { constantOf, smallFloats, smallInts } from '../../src/onnx/constant.ts';
import { decodeModel } from '../../src/onnx/open-model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';
import type { Value } from '../../src/onnx/value.ts';
import { makeModel } from '../helpers/make-model.ts';

/** The value as it is found in a file: built, saved and opened. */
function reopened(build: (b: Builder, x: Value) => Value): Value {
  const model = makeModel({ x: ['float32', [2]] }, (b, x) => ({ y: build(b, x) }));
  return decodeModel(encodeModel(model), 'test.onnx').graph.outputs[0];
}

function constantNode(attributes: Record<string, AttributeValue>): Value {
  return reopened((b) => b.op('Constant', [], attributes));
}

describe('constantOf', () => {
  test('finds initializers, also behind Identity', () => {
    const value = reopened((b) => b.op('Identity', [b.op('Identity', [b.ints([3, 4])])]));
    expect(constantOf(value)?.source.shape).toEqual([2]);
    expect(smallInts(value)).toEqual([3, 4]);
  });

  test.each<[string, Record<string, AttributeValue>, number[], number[]]>([
    ['value_int', { value_int: -5 }, [], [-5]],
    ['value_int of zero', { value_int: 0 }, [], [0]],
    ['value_ints', { value_ints: [1, 2, 3] }, [3], [1, 2, 3]],
    ['an empty value_ints', { value_ints: [] }, [0], []],
  ])('reads %s', (_name, attributes, shape, expected) => {
    const value = constantNode(attributes);
    expect(constantOf(value)?.source.shape).toEqual(shape);
    expect(smallInts(value)).toEqual(expected);
    expect(smallFloats(value)).toBeNull();
  });

  test.each<[string, Record<string, AttributeValue>, number[], number[]]>([
    ['value_float', { value_float: { f: 0.25 } }, [], [0.25]],
    ['value_floats', { value_floats: { floats: [1, -2] } }, [2], [1, -2]],
    [
      'value',
      { value: { tensor: makeTensor('t', 'float64', [1], new Uint8Array(Float64Array.of(0.1).buffer)) } },
      [1],
      [0.1],
    ],
  ])('reads %s', (_name, attributes, shape, expected) => {
    const value = constantNode(attributes);
    expect(constantOf(value)?.source.shape).toEqual(shape);
    expect(smallFloats(value)).toEqual(expected);
    expect(smallInts(value)).toBeNull();
  });

  test.each<[string, Record<string, AttributeValue>, number[], string[]]>([
    ['value_string', { value_string: 'ab' }, [], ['ab']],
    ['value_strings', { value_strings: { strings: ['a', 'b'] } }, [2], ['a', 'b']],
  ])('reads %s', (_name, attributes, shape, expected) => {
    const tensor = constantOf(constantNode(attributes))!;
    expect(tensor.source.shape).toEqual(shape);
    expect(tensor.proto.stringData?.map((text) => new TextDecoder().decode(text))).toEqual(expected);
  });

  test('keeps the largest int64 exact', () => {
    const value = reopened((b) => {
      const made = b.op('Constant', [], { value_int: 0 });
      made.producer!.attributes.get('value_int')!.i = Long.MAX_VALUE;
      return made;
    });
    const bytes = constantOf(value)!.source.read();
    expect(new DataView(new Uint8Array(bytes).buffer).getBigInt64(0, true)).toBe(2n ** 63n - 1n);
    expect(smallInts(value)).toEqual([2 ** 63]);
  });

  test('is null for what is computed, left out or large', () => {
    expect(constantOf(reopened((_, x) => x))).toBeNull();
    expect(constantOf(reopened((b, x) => b.op('Neg', [x])))).toBeNull();
    expect(constantOf(null)).toBeNull();
    expect(smallInts(reopened((b) => b.ints(Array.from({ length: 1025 }, () => 1))))).toBeNull();
  });
});
