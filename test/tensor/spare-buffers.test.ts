import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fileSource, tensorSource } from '../../src/tensor/source.ts';
import { giveBuffer, takeBuffer } from '../../src/tensor/spare-buffers.ts';
import { readMatrix } from '../../src/tensor/view.ts';

const large = 2 ** 20;

test('a buffer that was given is taken by the next who wants its size, once', () => {
  const bytes = new Uint8Array(large);
  giveBuffer(bytes);
  expect(takeBuffer(large + 1)).not.toBe(bytes.buffer);
  expect(takeBuffer(large)).toBe(bytes.buffer);
  expect(takeBuffer(large)).not.toBe(bytes.buffer);
});

test('small buffers and more than 256 MB are not kept', () => {
  const small = new Uint8Array(2 ** 16 - 1);
  giveBuffer(small);
  expect(takeBuffer(2 ** 16 - 1)).not.toBe(small.buffer);
  const [first, second] = [new Uint8Array(2 ** 28), new Uint8Array(large)];
  giveBuffer(first);
  giveBuffer(second);
  expect(takeBuffer(large)).not.toBe(second.buffer);
  expect(takeBuffer(2 ** 28)).toBe(first.buffer);
});

test.each(['float32', 'float16', 'bfloat16'] as const)(
  'weights read into used memory are the same: %s',
  (dtype) => {
    const path = join(mkdtempSync(join(tmpdir(), 'moeq-buffers-')), 'weights');
    const [rows, cols] = [1024, 1024];
    const width = dtype === 'float32' ? 4 : 2;
    const bytes = Uint8Array.from({ length: rows * cols * width }, (_, i) => (i * 37 + (i >> 8)) % 119);
    writeFileSync(path, bytes);
    const source = tensorSource(dtype, [rows, cols], fileSource(path, 0, bytes.length));
    const transposed = { source, rows: cols, cols: rows, offset: 0, rowStride: 1, colStride: cols };
    const expected = Float32Array.from(readMatrix(transposed).data);
    for (let i = 0; i < 4; i++) {
      const { data } = readMatrix(transposed);
      expect(Buffer.compare(Buffer.from(data.buffer), Buffer.from(expected.buffer))).toBe(0);
      giveBuffer(data.fill(NaN));
    }
  },
);
