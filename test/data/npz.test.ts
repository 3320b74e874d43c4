import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { parseNpy } from '../../src/data/npy.ts';
import { npzRecords } from '../../src/data/npz.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { npy } from './npy-bytes.ts';

describe('npzRecords', () => {
  // Written by NumPy 2: hidden_states = arange(12).reshape(2, 3, 2) / 4 and three arrays more.
  const numpy = readFileSync(new URL('fixtures/numpy.npz', import.meta.url));

  test('reads what NumPy wrote, a record per row', () => {
    const records = npzRecords(numpy, 'numpy.npz');
    expect(records.map(({ source }) => source)).toEqual(['numpy.npz[0]', 'numpy.npz[1]']);
    expect(records[1]).toEqual({
      source: 'numpy.npz[1]',
      task: null,
      answerStart: null,
      inputs: {
        hidden_states: {
          dtype: 'float32',
          shape: [3, 2],
          data: Float32Array.of(1.5, 1.75, 2, 2.25, 2.5, 2.75),
        },
        input_ids: { dtype: 'int64', shape: [3], data: BigInt64Array.of(4n, 5n, 6n) },
        mask: { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 1, 1) },
        half: { dtype: 'float16', shape: [1], data: Uint16Array.of(0xc000) },
      },
    });
  });

  test('refuses a file that is no archive, and one cut short', () => {
    expect(faultOf(() => npzRecords(new Uint8Array(50), 'a.npz'))).toMatchObject({
      code: 'DATA_NPZ',
      where: 'a.npz',
    });
    const cut = numpy.subarray(0, numpy.length - 30);
    expect(faultOf(() => npzRecords(cut, 'a.npz')).code).toBe('DATA_NPZ');
  });

  test('refuses arrays of unequal batch and an archive of nothing', () => {
    const archive = zipSync({
      'a.npy': npy('<f4', [2], new Uint8Array(8)),
      'b.npy': npy('<f4', [1], new Uint8Array(4)),
    });
    expect(faultOf(() => npzRecords(archive, 'a.npz'))).toMatchObject({
      code: 'DATA_RECORD',
      what: 'input b has batch 1, another has 2',
    });
    expect(faultOf(() => npzRecords(zipSync({}), 'a.npz')).code).toBe('DATA_RECORD');
  });
});

describe('parseNpy', () => {
  test('gives back any numbers of any shape', () => {
    const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
    fc.assert(
      fc.property(shapes, fc.integer(), (shape, seed) => {
        const count = shape.reduce((product, dim) => product * dim, 1);
        const data = Float64Array.from({ length: count }, (_, i) => seed / (i + 1));
        expect(parseNpy(npy('<f8', shape, new Uint8Array(data.buffer)), 'x')).toEqual({
          dtype: 'float64',
          shape,
          data,
        });
      }),
    );
  });

  test.each([
    ['<i2', 'int16', Int16Array.of(-2, 300)],
    ['<u8', 'uint64', BigUint64Array.of(1n, 2n ** 64n - 1n)],
    ['|i1', 'int8', Int8Array.of(-128, 127)],
  ])('reads %s as %s', (descriptor, dtype, data) => {
    const array = parseNpy(npy(descriptor, [2], new Uint8Array(data.buffer)), 'x');
    expect(array).toEqual({ dtype, shape: [2], data });
  });

  test.each([
    ['big-endian numbers', npy('>f4', [1], new Uint8Array(4)), 'the element type >f4 is not supported'],
    ['complex numbers', npy('<c8', [1], new Uint8Array(8)), 'the element type <c8 is not supported'],
    ['Fortran order', npy('<f4', [2, 2], new Uint8Array(16), true), 'the array is stored in Fortran order'],
    ['missing elements', npy('<f4', [2, 2], new Uint8Array(12)), 'the array ends after 12 of 16 bytes'],
    ['other bytes', new Uint8Array(20), 'this is no .npy array'],
  ])('refuses %s', (_, bytes, what) => {
    expect(faultOf(() => parseNpy(bytes, 'x.npz, array a'))).toMatchObject({
      code: 'DATA_NPY',
      what,
      where: 'x.npz, array a',
    });
  });
});
