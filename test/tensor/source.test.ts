import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { byteLengthOf, codeOf, dataTypeOf } from '../../src/tensor/dtype.ts';
import { encodeNumbers } from '../../src/tensor/encode.ts';
import { fileSource, memorySource, sliceSource, tensorSource } from '../../src/tensor/source.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-source-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'bytes.bin');
const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
writeFileSync(path, bytes);

describe.each([
  ['file', () => fileSource(path, 10, 50)],
  ['memory', () => memorySource(bytes.subarray(10, 60))],
  ['slice', () => sliceSource(fileSource(path, 5, 90), 5, 50)],
  ['tensor', () => tensorSource('uint8', [5, 10], sliceSource(memorySource(bytes), 10, 50))],
])('a %s source', (_name, make) => {
  test('reads the whole, the rest and a range', () => {
    const source = make();
    expect(source.byteLength).toBe(50);
    expect([...source.read()]).toEqual([...bytes.subarray(10, 60)]);
    expect([...source.read(40)]).toEqual([...bytes.subarray(50, 60)]);
    expect([...source.read(3, 2)]).toEqual([13, 14]);
    expect(source.read(50)).toHaveLength(0);
  });
});

test('a file that shrank is a Fault', () => {
  const shrinking = join(folder, 'short.bin');
  writeFileSync(shrinking, bytes);
  const source = fileSource(shrinking, 0, 100);
  truncateSync(shrinking, 50);
  expect(() => source.read()).toThrow(expect.objectContaining({ code: 'FILE_SHORT', where: shrinking }));
});

test('a tensor has as many bytes as its shape asks for', () => {
  expect(() => tensorSource('float32', [2, 3], new Uint8Array(20), 'w')).toThrow(
    expect.objectContaining({ code: 'TENSOR_SIZE', where: 'tensor w' }),
  );
  expect(tensorSource('int4', [3], new Uint8Array(2)).byteLength).toBe(2);
  expect(tensorSource('float32', [], new Uint8Array(4)).shape).toEqual([]);
});

test('every code of ONNX 1.21 names an element type and comes back', () => {
  const codes = Array.from({ length: 26 }, (_, i) => i + 1);
  expect(codes.map((code) => codeOf(dataTypeOf(code)!))).toEqual(codes);
  expect([dataTypeOf(0), dataTypeOf(27)]).toEqual([undefined, undefined]);
});

test('types below a byte are rounded up', () => {
  expect([byteLengthOf('int4', 3), byteLengthOf('uint2', 5), byteLengthOf('float16', 3)]).toEqual([2, 2, 6]);
});

test('only plain numbers of whole bytes are encoded', () => {
  expect(() => encodeNumbers([1], 'int4')).toThrow(expect.objectContaining({ code: 'TENSOR_DTYPE' }));
  expect([...encodeNumbers([1, 0], 'bool')]).toEqual([1, 0]);
});
