import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { decodeModel, openModel } from '../../src/onnx/open-model.ts';
import { saveModel } from '../../src/onnx/save-model.ts';
import type { ByteSource } from '../../src/tensor/source.ts';
import { readFloats } from '../../src/tensor/view.ts';
import type { Fields } from '../helpers/wire.ts';
import { externalEntry, message, modelOf, varint } from '../helpers/wire.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-large-'));
afterAll(() => rmSync(folder, { recursive: true }));

const gigabyte = 1e9;
const elements = gigabyte / 4;

/** Tensors of one gigabyte each in a file that takes no room on the disk. */
function sparseModel(tensors: number): string {
  const data = join(folder, 'weights.bin');
  writeFileSync(data, '');
  truncateSync(data, tensors * gigabyte);
  const fields = Array.from({ length: tensors }, (_, index): Fields[0] => {
    const place: Fields = [
      externalEntry('location', 'weights.bin'),
      externalEntry('offset', String(index * gigabyte)),
    ];
    return [5, message([1, elements], [2, 1], [8, `w${index}`], ...place, [14, 1])];
  });
  const path = join(folder, 'sparse.onnx');
  writeFileSync(path, modelOf(fields));
  return path;
}

test('12 GB of external data are opened without being read', () => {
  const before = process.memoryUsage().arrayBuffers;
  const { graph } = openModel(sparseModel(12));
  const last = [...graph.constants].at(-1)!;
  expect(last.tensor!.source.byteLength).toBe(gigabyte);
  expect([...readFloats(last.tensor!.source, elements - 2)]).toEqual([0, 0]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1e6);
});

test('of weights inside the file only the headers are read', () => {
  const { source, readBytes } = inlineModel(500, 4e6);
  const model = decodeModel(source, 'inline.onnx');
  expect(model.graph.constants.size).toBe(500);
  expect(source.byteLength).toBeGreaterThan(2e9 - 1);
  expect(readBytes()).toBeLessThan(500 * 2 ** 17);
});

test('saving reads weights in pieces', () => {
  let largest = 0;
  const { source } = inlineModel(1, 5e7, (length) => (largest = Math.max(largest, length)));
  saveModel(decodeModel(source, 'inline.onnx'), join(folder, 'saved.onnx'));
  expect(largest).toBeLessThanOrEqual(2 ** 24);
  const [copy] = openModel(join(folder, 'saved.onnx')).graph.constants;
  expect(copy.tensor!.source.byteLength).toBe(5e7);
});

/** A file of `tensors` initializers with zeros, which are made up when they are read. */
function inlineModel(
  tensors: number,
  bytesEach: number,
  onRead: (length: number) => void = () => {},
): { source: ByteSource; readBytes: () => number } {
  const data = [varint(9 * 8 + 2), varint(bytesEach)];
  const head = Buffer.concat([message([1, bytesEach / 4], [2, 1]), ...data]);
  const parts = Array.from({ length: tensors }, (_, index) => {
    const name = message([8, `w${index}`]);
    const length = name.length + head.length + bytesEach;
    return Buffer.concat([varint(5 * 8 + 2), varint(length), name, head]);
  });
  const graphLength = parts.reduce((sum, part) => sum + part.length + bytesEach, 0);
  const start = Buffer.concat([message([1, 10]), varint(7 * 8 + 2), varint(graphLength)]);
  const starts: number[] = [];
  let end = start.length;
  for (const part of parts) {
    starts.push(end);
    end += part.length + bytesEach;
  }
  let total = 0;
  return {
    readBytes: () => total,
    source: {
      byteLength: end,
      read(offset = 0, length = end - offset) {
        total += length;
        onRead(length);
        const bytes = Buffer.alloc(length);
        [start, ...parts].forEach((part, index) => {
          const at = (index === 0 ? 0 : starts[index - 1]) - offset;
          if (at < length && at + part.length > 0) part.copy(bytes, Math.max(at, 0), Math.max(-at, 0));
        });
        return bytes;
      },
    },
  };
}
