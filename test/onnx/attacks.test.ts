import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { isFault } from '../../src/fault.ts';
import { decodeModel, openModel } from '../../src/onnx/open-model.ts';
import { externalModel } from '../helpers/fixtures.ts';
import type { Fields } from '../helpers/wire.ts';
import { bytesOf, message, modelOf, node, packed, valueInfo, varint } from '../helpers/wire.ts';

const root = mkdtempSync(join(tmpdir(), 'moeq-attacks-'));
afterAll(() => rmSync(root, { recursive: true }));

const folder = join(root, 'model');
mkdirSync(join(folder, 'inside'), { recursive: true });
const secret = join(root, 'secret.bin');
for (const path of [secret, join(folder, 'weights.bin'), join(folder, 'inside', 'weights.bin')])
  writeFileSync(path, new Uint8Array(64));
symlinkSync(secret, join(folder, 'link.bin'));
symlinkSync(root, join(folder, 'up'));
symlinkSync(join(folder, 'weights.bin'), join(folder, 'fair.bin'));

/** The code a file is refused with, as long as the refusal says where. */
function refusalOf(bytes: Uint8Array): string {
  try {
    decodeModel(bytes, join(folder, 'm.onnx'));
    return 'not refused';
  } catch (error) {
    if (!isFault(error)) throw error;
    return error.where ? error.code : `${error.code} nowhere`;
  }
}

describe('external data', () => {
  test.each(['weights.bin', './weights.bin', 'inside/weights.bin', 'inside/../weights.bin', 'fair.bin'])(
    'may lie at %s',
    (location) => {
      const [value] = decodeModel(externalModel(location), join(folder, 'm.onnx')).graph.constants;
      expect(value.tensor!.source.read()).toHaveLength(32);
    },
  );

  test.each([
    ['a parent folder', '../secret.bin'],
    ['a parent folder on a detour', 'inside/../../secret.bin'],
    ['an absolute path', secret],
    ['an absolute path within the folder', join(folder, 'weights.bin')],
    ['a link that leaves the folder', 'link.bin'],
    ['a linked folder that leaves the folder', 'up/secret.bin'],
    ['the folder itself', '.'],
    ['a folder', 'inside'],
    ['a missing file', 'missing.bin'],
    ['no file', ''],
    ['a name with a zero byte', 'weights.bin\0.txt'],
  ])('may not lie in %s', (_kind, location) => {
    expect(refusalOf(externalModel(location))).toBe('EXTERNAL_DATA');
  });

  test.each([
    ['offset', '40'],
    ['offset', '-1'],
    ['offset', '0x10'],
    ['offset', '1e1'],
    ['offset', ' 8'],
    ['offset', '+8'],
    ['offset', ''],
    ['offset', 'many'],
    ['offset', '99999999999999999999'],
    ['length', '65'],
    ['length', '9007199254740993'],
  ])('has no %s of "%s"', (key, value) => {
    const others: Fields = [
      [13, message([1, 'location'], [2, 'weights.bin'])],
      [13, message([1, key], [2, value])],
    ];
    const bytes = modelOf([[5, message([1, 8], [2, 1], [8, 'w'], ...others, [14, 1])]]);
    expect(refusalOf(bytes)).toBe('EXTERNAL_DATA');
  });

  test('has the length of its shape', () => {
    const place: Fields = [
      [13, message([1, 'location'], [2, 'weights.bin'])],
      [13, message([1, 'length'], [2, '16'])],
    ];
    expect(refusalOf(modelOf([[5, message([1, 8], [2, 1], [8, 'w'], ...place, [14, 1])]]))).toBe(
      'TENSOR_SIZE',
    );
  });

  test('names each key once', () => {
    const place: Fields = [
      [13, message([1, 'location'], [2, 'weights.bin'])],
      [13, message([1, 'location'], [2, 'fair.bin'])],
    ];
    expect(refusalOf(modelOf([[5, message([1, 8], [2, 1], [8, 'w'], ...place, [14, 1])]]))).toBe(
      'EXTERNAL_DATA',
    );
  });
});

describe('a tensor', () => {
  const float = Uint8Array.of(0, 0, 0, 0);

  test.each<[string, string, Uint8Array]>([
    ['TENSOR_SIZE', 'more elements than bytes', message([1, 2], [2, 1], [9, float])],
    ['TENSOR_SIZE', 'more bytes than elements', message([2, 1], [9, new Uint8Array(8)])],
    ['TENSOR_SIZE', 'a negative dimension', message([1, -1], [2, 1], [9, float])],
    ['TENSOR_SIZE', 'dimensions that overflow', message([1, 2 ** 32], [1, 2 ** 32], [2, 1], [9, float])],
    ['TENSOR_SIZE', 'a dimension of 2^63 - 1', message([1, 2n ** 63n - 1n], [2, 1], [9, float])],
    ['TENSOR_SIZE', 'too few typed elements', message([1, 3], [2, 7], [7, packed(1, 2)])],
    ['TENSOR_SIZE', 'too few strings', message([1, 2], [2, 8], [6, 'a'])],
    ['TENSOR_SIZE', 'large data of another type', message([1, 300], [2, 7], [4, new Uint8Array(1200)])],
    ['TENSOR_SIZE', 'large typed data of wrong length', message([1, 9], [2, 7], [7, new Uint8Array(2000)])],
    ['TENSOR_DTYPE', 'an unknown element type', message([1, 1], [2, 99], [9, float])],
    ['TENSOR_DTYPE', 'no element type', message([1, 1], [9, float])],
  ])('is refused with %s for %s', (code, _kind, tensor) => {
    expect(refusalOf(modelOf([[5, Buffer.concat([tensor, message([8, 'w'])])]]))).toBe(code);
  });

  test('cannot point at bytes outside the file with fields of our own', () => {
    for (const [offset, length] of [
      [1e9, 4],
      [-8, 4],
      [0.5, 4],
      [0, NaN],
    ]) {
      const place = Buffer.concat([fixed64(536870910, offset), fixed64(536870911, length)]);
      const tensor = Buffer.concat([message([1, 1], [2, 1], [8, 'w']), place]);
      expect(refusalOf(modelOf([[5, tensor]]))).toBe('TENSOR_SIZE');
    }
  });
});

describe('a graph', () => {
  const one: Fields[0] = [5, message([2, 1], [8, 'w'], [9, new Uint8Array(4)])];

  test.each<[string, Fields]>([
    ['two initializers of one name', [one, one]],
    [
      'two inputs of one name',
      [
        [11, valueInfo('x', 'float32', [])],
        [11, valueInfo('x', 'float32', [])],
      ],
    ],
    ['an initializer and a node output of one name', [one, [1, node('Constant', [], ['w'])]]],
    ['two node outputs of one name', [[1, node('Neg', ['w'], ['y'])], [1, node('Abs', ['w'], ['y'])], one]],
    [
      'two attributes of one name',
      [[1, node('Neg', [], ['y'], [message([1, 'a'], [3, 1], [20, 2]), message([1, 'a'], [3, 2], [20, 2])])]],
    ],
    ['an input without a name', [[11, message([3, 'nameless'])]]],
    ['an output without a name', [[12, message([3, 'nameless'])]]],
    ['an attribute without a name', [[1, node('Neg', [], ['y'], [message([3, 1], [20, 2])])]]],
    ['a node that reads itself', [[1, node('Neg', ['y'], ['y'])]]],
    [
      'a cycle',
      [
        [1, node('Neg', ['a'], ['b'])],
        [1, node('Neg', ['c'], ['a'])],
        [1, node('Neg', ['b'], ['c'])],
      ],
    ],
    [
      'a cycle through a branch',
      [
        [
          1,
          node(
            'If',
            ['w'],
            ['y'],
            [
              message(
                [1, 'then_branch'],
                [20, 5],
                [6, message([2, 't'], [1, node('Neg', ['y'], ['z'])], [12, message([1, 'z'])])],
              ),
            ],
          ),
        ],
        one,
      ],
    ],
  ])('is refused for %s', (_kind, fields) => {
    expect(refusalOf(modelOf(fields))).toBe('ONNX_INVALID');
  });

  test.each([50, 500])('is refused when %i graphs are nested', (depth) => {
    let graph = message([2, 'innermost']);
    for (let level = 0; level < depth; level++) {
      const attribute = message([1, 'body'], [20, 5], [6, graph]);
      graph = message([2, 'g'], [1, node('Loop', [], [`v${level}`], [attribute])]);
    }
    expect(refusalOf(message([1, 10], [7, graph]))).toBe('ONNX_MALFORMED');
  });

  test('is refused when types are nested without end', () => {
    let type: Uint8Array = message([1, message([1, 1])]);
    for (let level = 0; level < 2000; level++) type = message([4, message([1, type])]);
    expect(refusalOf(modelOf([[11, message([1, 'x'], [2, type])]]))).toBe('ONNX_MALFORMED');
  });

  test('is refused when it repeats empty messages to fill memory', () => {
    for (const field of [1, 5, 11, 13]) {
      const graph = Buffer.concat(Array.from({ length: 5000 }, () => message([field, ''])));
      expect(refusalOf(message([1, 10], [7, graph]))).toBe('ONNX_MALFORMED');
    }
  });
});

describe('a file', () => {
  test.each<[string, string, Uint8Array]>([
    ['ONNX_MALFORMED', 'nothing', new Uint8Array(0)],
    ['ONNX_MALFORMED', 'no graph', message([1, 10])],
    ['ONNX_MALFORMED', 'text', Buffer.from('{"not": "a model"}')],
    ['ONNX_MALFORMED', 'a field numbered 0', Uint8Array.of(0, 0)],
    ['ONNX_MALFORMED', 'an endless varint', new Uint8Array(20).fill(0xff)],
    ['ONNX_MALFORMED', 'a group', Uint8Array.of(0x3b, 0x3c)],
    [
      'ONNX_TRUNCATED',
      'half a model',
      modelOf([[5, message([1, 4096], [2, 3], [9, new Uint8Array(4096)])]]).subarray(0, 2000),
    ],
    ['ONNX_TRUNCATED', 'a length beyond the end', Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f)],
  ])('is refused with %s when it holds %s', (code, _kind, bytes) => {
    expect(refusalOf(bytes)).toBe(code);
  });

  test.each(['missing.onnx', 'inside'])('is refused when %s is no file', (name) => {
    expect(() => openModel(join(folder, name))).toThrow(
      expect.objectContaining({ code: 'FILE_MISSING', where: join(folder, name) }),
    );
  });
});

/** A double in a field of wire type 1. */
function fixed64(field: number, value: number): Uint8Array {
  return Buffer.concat([varint(field * 8 + 1), bytesOf(Float64Array.of(value))]);
}
