import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeModel, openModel } from '../../src/onnx/open-model.ts';
import { encodeModel, saveModel } from '../../src/onnx/save-model.ts';
import type { DataType } from '../../src/tensor/dtype.ts';
import { bitsOf, codeOf } from '../../src/tensor/dtype.ts';
import { runModel } from '../helpers/run-model.ts';
import type { Fields } from '../helpers/wire.ts';
import {
  bytesOf,
  canonical,
  externalEntry,
  message,
  modelOf,
  node,
  packed,
  valueInfo,
} from '../helpers/wire.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-encodings-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function saved(bytes: Uint8Array): Uint8Array {
  return encodeModel(decodeModel(bytes, join(folder, 'test.onnx')));
}

/** Element type, number of elements, raw bytes, and the same in the typed field of TensorProto. */
const encodings: [DataType, number, Uint8Array, [number, Uint8Array]][] = [
  ['float32', 2, bytesOf(Float32Array.of(1.5, -2)), [4, bytesOf(Float32Array.of(1.5, -2))]],
  ['float64', 2, bytesOf(Float64Array.of(0.1, -2)), [10, bytesOf(Float64Array.of(0.1, -2))]],
  ['complex64', 1, bytesOf(Float32Array.of(1, 2)), [4, bytesOf(Float32Array.of(1, 2))]],
  ['float16', 2, bytesOf(Uint16Array.of(0x3e00, 0xc000)), [5, packed(0x3e00, 0xc000)]],
  ['bfloat16', 2, bytesOf(Uint16Array.of(0x3fc0, 0xc000)), [5, packed(0x3fc0, 0xc000)]],
  ['int64', 2, bytesOf(BigInt64Array.of(2n ** 63n - 1n, -5n)), [7, packed(2n ** 63n - 1n, -5n)]],
  ['uint64', 2, bytesOf(BigUint64Array.of(2n ** 64n - 1n, 5n)), [11, packed(2n ** 64n - 1n, 5n)]],
  ['int32', 2, bytesOf(Int32Array.of(7, -8)), [5, packed(7, -8)]],
  ['uint32', 2, bytesOf(Uint32Array.of(7, 2 ** 32 - 1)), [11, packed(7, 2 ** 32 - 1)]],
  ['int16', 2, bytesOf(Int16Array.of(7, -8)), [5, packed(7, -8)]],
  ['uint16', 2, bytesOf(Uint16Array.of(7, 65535)), [5, packed(7, 65535)]],
  ['int8', 2, bytesOf(Int8Array.of(7, -8)), [5, packed(7, -8)]],
  ['uint8', 2, Uint8Array.of(7, 255), [5, packed(7, 255)]],
  ['bool', 2, Uint8Array.of(1, 0), [5, packed(1, 0)]],
  ['float8e4m3fn', 2, Uint8Array.of(0x38, 0xc0), [5, packed(0x38, 0xc0)]],
  ['float8e4m3fnuz', 2, Uint8Array.of(0x40, 0xc8), [5, packed(0x40, 0xc8)]],
  ['float8e5m2', 2, Uint8Array.of(0x3c, 0xc0), [5, packed(0x3c, 0xc0)]],
  ['float8e5m2fnuz', 2, Uint8Array.of(0x40, 0xc4), [5, packed(0x40, 0xc4)]],
  ['float8e8m0', 2, Uint8Array.of(127, 128), [5, packed(127, 128)]],
  ['int4', 3, Uint8Array.of(0x87, 0x01), [5, packed(0x87, 0x01)]],
  ['uint4', 3, Uint8Array.of(0xf7, 0x01), [5, packed(0xf7, 0x01)]],
  ['float4e2m1', 3, Uint8Array.of(0xa2, 0x05), [5, packed(0xa2, 0x05)]],
  ['int2', 5, Uint8Array.of(0b10_11_01_00, 0b01), [5, packed(0b10110100, 0b01)]],
  ['uint2', 5, Uint8Array.of(0b10_11_01_00, 0b01), [5, packed(0b10110100, 0b01)]],
];

describe('tensors', () => {
  describe.each(encodings)('%s', (dtype, count, raw, [field, data]) => {
    const head: Fields = [
      [1, count],
      [2, codeOf(dtype)],
      [8, 'w'],
    ];
    const external = (name: string): Fields => {
      writeFileSync(join(folder, name), Buffer.concat([Buffer.alloc(13), raw, Buffer.alloc(3)]));
      return [
        [14, 1],
        externalEntry('location', name),
        externalEntry('offset', '13'),
        externalEntry('length', String(raw.length)),
      ];
    };
    const graph = (...fields: Fields): Uint8Array => modelOf([[5, message(...head, ...fields)]]);

    test.each<[string, () => Fields]>([
      ['raw bytes', () => [[9, raw]]],
      ['a typed field', () => [[field, data]]],
      ['external data', () => external(`${dtype}.bin`)],
    ])('reads and keeps %s', (_kind, fields) => {
      const bytes = graph(...fields());
      expect(read(bytes)).toEqual([...raw]);
      expect(read(saved(bytes))).toEqual([...raw]);
    });

    test('reads and keeps a typed field that is too large to be looked at', () => {
      const many = 1024;
      const repeat = (bytes: Uint8Array): Buffer => Buffer.concat(Array.from({ length: many }, () => bytes));
      // Data of fewer than 8 bits repeats in whole bytes.
      const bits = bitsOf(dtype);
      const perTime = bits < 8 ? (raw.length * 8) / bits : count;
      const bytes = modelOf([
        [5, message([1, perTime * many], [2, codeOf(dtype)], [8, 'w'], [field, repeat(data)])],
      ]);
      expect(read(bytes)).toEqual([...repeat(raw)]);
      expect(canonical(saved(bytes))).toEqual(canonical(bytes));
    });
  });

  test('keeps strings', () => {
    const bytes = modelOf([[5, message([1, 2], [2, 8], [6, 'ab'], [6, 'c'], [8, 'w'])]]);
    expect(canonical(saved(bytes))).toEqual(canonical(bytes));
  });

  const runnable: DataType[] = [
    'float32',
    'float16',
    'bfloat16',
    'int64',
    'int8',
    'uint4',
    'int4',
    'uint2',
    'int2',
    'float8e4m3fn',
    'float8e5m2',
  ];
  test.each(encodings.filter(([dtype]) => runnable.includes(dtype)))(
    'of %s give the same numbers in ONNX Runtime after saving',
    async (dtype, count, raw) => {
      const path = join(folder, `run-${dtype}.onnx`);
      const cast = node('Cast', ['w'], ['y'], [message([1, 'to'], [3, 1], [20, 2])]);
      const bytes = message(
        [1, 13],
        [8, message([2, 25])],
        [
          7,
          message(
            [2, 'g'],
            [1, cast],
            [5, message([1, count], [2, codeOf(dtype)], [8, 'w'], [9, raw])],
            [12, valueInfo('y', 'float32', [count])],
          ),
        ],
      );
      writeFileSync(path, bytes);
      const before = await runModel(path);
      saveModel(openModel(path), `${path}.saved.onnx`);
      expect(before['y']).toHaveLength(count);
      expect(await runModel(`${path}.saved.onnx`)).toEqual(before);
    },
  );
});

function read(bytes: Uint8Array): number[] {
  const [value] = decodeModel(bytes, join(folder, 'test.onnx')).graph.constants;
  return [...value.tensor!.source.read()];
}
