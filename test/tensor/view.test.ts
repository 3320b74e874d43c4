import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DataType } from '../../src/tensor/dtype.ts';
import { encodeNumbers } from '../../src/tensor/encode.ts';
import type { TensorSource } from '../../src/tensor/source.ts';
import { tensorSource } from '../../src/tensor/source.ts';
import { readFloats, readMatrix, readVector, vectorView } from '../../src/tensor/view.ts';

/** 0, 1, 2, … in the given shape; `reads` counts the bytes taken from it. */
function counting(dtype: DataType, shape: readonly number[]): { source: TensorSource; reads: number[] } {
  const count = shape.reduce((a, b) => a * b, 1);
  const bytes = encodeNumbers(
    Array.from({ length: count }, (_, i) => i),
    dtype,
  );
  const reads: number[] = [];
  const read = (offset = 0, length = bytes.length - offset): Uint8Array => {
    reads.push(length);
    return bytes.subarray(offset, offset + length);
  };
  return { source: tensorSource(dtype, shape, { byteLength: bytes.length, read }), reads };
}

describe('readMatrix', () => {
  test('follows offset and strides', () => {
    const view = fc.record({
      rows: fc.integer({ min: 1, max: 5 }),
      cols: fc.integer({ min: 1, max: 5 }),
      offset: fc.integer({ min: 0, max: 9 }),
      rowStride: fc.integer({ min: 1, max: 12 }),
      colStride: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(view, (each) => {
        const { source } = counting('float32', [120]);
        const { rows, cols, data } = readMatrix({ source, ...each });
        const expected = Array.from({ length: rows * cols }, (_, i) => {
          const [r, c] = [Math.floor(i / cols), i % cols];
          return each.offset + r * each.rowStride + c * each.colStride;
        });
        expect([...data]).toEqual(expected);
      }),
    );
  });

  test('reads the transpose of one expert of a stack, and no other', () => {
    const { source, reads } = counting('float16', [3, 2, 4]);
    const view = { source, rows: 4, cols: 2, offset: 8, rowStride: 1, colStride: 4 };
    expect([...readMatrix(view).data]).toEqual([8, 12, 9, 13, 10, 14, 11, 15]);
    expect(reads).toEqual([16]);
  });

  test('reads nothing for an empty matrix', () => {
    const { source, reads } = counting('float32', [4]);
    const { data } = readMatrix({ source, rows: 0, cols: 4, offset: 0, rowStride: 4, colStride: 1 });
    expect([data.length, ...reads]).toEqual([0, 0]);
  });

  test('gives a vector at a distance', () => {
    expect([...readVector(vectorView(counting('int32', [8]).source, 3, 1, 2))]).toEqual([1, 3, 5]);
  });
});

describe('readFloats', () => {
  const types: DataType[] = [
    'float32',
    'float64',
    'float16',
    'bfloat16',
    'int8',
    'uint8',
    'int16',
    'uint16',
    'int32',
    'uint32',
    'int64',
    'uint64',
  ];
  test.each(types)('reads %s', (dtype) => {
    expect([...readFloats(counting(dtype, [2, 3]).source, 1, 4)]).toEqual([1, 2, 3, 4]);
  });

  test.each<DataType>(['int4', 'string', 'float8e4m3fn'])('refuses %s', (dtype) => {
    const bytes = new Uint8Array(dtype === 'string' ? 0 : 1);
    const source = tensorSource(dtype, [1], bytes);
    expect(() => readFloats(source, 0, 1)).toThrow(expect.objectContaining({ code: 'TENSOR_DTYPE' }));
  });
});
