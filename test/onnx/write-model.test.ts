import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { Model } from '../../src/onnx/model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { stageModel, writeModel } from '../../src/onnx/write-model.ts';
import type { ByteSource } from '../../src/tensor/source.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { makeModel } from '../helpers/make-model.ts';
import { float32, runModel } from '../helpers/run-model.ts';

const root = mkdtempSync(join(tmpdir(), 'moeq-write-'));
let folder: string;
let count = 0;
beforeEach(() => {
  folder = join(root, String(count++));
  mkdirSync(folder);
});
afterAll(() => rmSync(root, { recursive: true }));

const side = 64;

/** y = x w, with w[i][j] = 1 everywhere, or read from `source`. */
function model(source?: ByteSource, rows = side): Model {
  return makeModel({ x: ['float32', [1, rows]] }, (b, x) => {
    const data = source ?? new Float32Array(rows * side).fill(1);
    return { y: b.op('MatMul', [x, b.constant('w', 'float32', [rows, side], data)]) };
  });
}

const feeds = {
  x: float32(
    Array.from({ length: side }, () => 0.5),
    [1, side],
  ),
};
const expected = { y: Array.from({ length: side }, () => side / 2) };

describe('writeModel', () => {
  test.each([false, true])('writes what ONNX Runtime runs (external data: %s)', async (externalData) => {
    const path = join(folder, 'm.onnx');
    const written = writeModel(model(), path, { externalData });
    expect(readdirSync(folder).map((name) => join(folder, name))).toEqual(written);
    expect(await runModel(path, feeds)).toEqual(expected);
    expect(readFileSync(path).includes('m.onnx.data')).toBe(externalData);
  });

  test.each([false, true])(
    'can be tried before it is published (external data: %s)',
    async (externalData) => {
      const path = join(folder, 'm.onnx');
      writeFileSync(path, 'the old model');
      const staged = stageModel(model(), path, { externalData, force: true });
      expect(await runModel(staged.path, feeds)).toEqual(expected);
      expect(readFileSync(path, 'utf8')).toBe('the old model');
      staged.publish();
      expect(await runModel(path, feeds)).toEqual(expected);
      expect(readdirSync(folder)).toEqual(externalData ? ['m.onnx', 'm.onnx.data'] : ['m.onnx']);
    },
  );

  test.each(['m.onnx', 'm.onnx.data'])('leaves %s that somebody else wrote meanwhile', (name) => {
    const staged = stageModel(model(), join(folder, 'm.onnx'), { externalData: true });
    writeFileSync(join(folder, name), 'of another');
    expect(faultOf(() => staged.publish())).toMatchObject({
      code: 'OUTPUT_EXISTS',
      where: join(folder, name),
    });
    expect(readdirSync(folder)).toEqual([name]);
    expect(readFileSync(join(folder, name), 'utf8')).toBe('of another');
  });

  test('takes names as long as names can be', () => {
    const path = join(folder, `${'x'.repeat(250)}.onnx`);
    expect(writeModel(model(), path)).toEqual([path]);
  });

  test('leaves nothing of a model that is discarded', () => {
    stageModel(model(), join(folder, 'm.onnx'), { externalData: true }).discard();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('gives the same bytes each time', () => {
    const bytes = ['a', 'b'].map((name) => {
      mkdirSync(join(folder, name));
      const paths = writeModel(model(), join(folder, name, 'm.onnx'), { externalData: true });
      return paths.map((path) => readFileSync(path).toString('base64'));
    });
    expect(bytes[0]).toEqual(bytes[1]);
  });

  test.each(['m.onnx', 'm.onnx.data'])('does not overwrite %s unless told to', async (name) => {
    writeFileSync(join(folder, name), 'precious');
    const path = join(folder, 'm.onnx');
    expect(() => writeModel(model(), path, { externalData: true })).toThrow(
      expect.objectContaining({ code: 'OUTPUT_EXISTS', where: join(folder, name) }),
    );
    expect(readdirSync(folder)).toEqual([name]);
    expect(readFileSync(join(folder, name), 'utf8')).toBe('precious');
    writeModel(model(), path, { externalData: true, force: true });
    expect(await runModel(path, feeds)).toEqual(expected);
  });

  test('may overwrite the files it reads from', async () => {
    const path = join(folder, 'm.onnx');
    writeModel(model(), path, { externalData: true });
    writeModel(openModel(path), path, { externalData: true, force: true });
    expect(await runModel(path, feeds)).toEqual(expected);
  });

  test.each([false, true])('leaves nothing behind on a full disk (external data: %s)', (externalData) => {
    const path = join(folder, 'm.onnx');
    writeFileSync(path, 'the old model');
    const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    const source = {
      byteLength: side * side * 4,
      read: (): Uint8Array => {
        throw full;
      },
    };
    expect(() => writeModel(model(source), path, { externalData, force: true })).toThrow(
      expect.objectContaining({ code: 'OUTPUT_FAILED', where: path, why: full.message }),
    );
    expect(readdirSync(folder)).toEqual(['m.onnx']);
    expect(readFileSync(path, 'utf8')).toBe('the old model');
  });

  test('says so when the folder is missing', () => {
    const path = join(folder, 'missing', 'm.onnx');
    expect(() => writeModel(model(), path)).toThrow(
      expect.objectContaining({ code: 'OUTPUT_FAILED', where: path }),
    );
  });

  test('puts more than 1 GB beside the model by itself, and refuses 2 GiB inside', () => {
    const rows = 2 ** 23 + 1;
    const endless: ByteSource = {
      byteLength: rows * side * 4,
      read: () => {
        throw new Error('reached the weights');
      },
    };
    const path = join(folder, 'm.onnx');
    expect(() => writeModel(model(endless, rows), path, { externalData: false })).toThrow(
      expect.objectContaining({ code: 'OUTPUT_TOO_LARGE' }),
    );
    writeFileSync(`${path}.data`, '');
    expect(() => writeModel(model(endless, rows), path)).toThrow(
      expect.objectContaining({ code: 'OUTPUT_EXISTS', where: `${path}.data` }),
    );
  });
});
