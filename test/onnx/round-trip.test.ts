import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onnx } from 'onnx-proto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeModel, openModel } from '../../src/onnx/open-model.ts';
import { encodeModel, saveModel } from '../../src/onnx/save-model.ts';
import { everyMessage, functionCall, largeData, loopAndScan } from '../helpers/fixtures.ts';
import { makeModel } from '../helpers/make-model.ts';
import { float32, runModel } from '../helpers/run-model.ts';
import { bytesOf, canonical, message, modelOf, node, valueInfo } from '../helpers/wire.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-round-trip-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function saved(bytes: Uint8Array): Uint8Array {
  return encodeModel(decodeModel(bytes, join(folder, 'test.onnx')));
}

describe('unknown fields', () => {
  const bytes = everyMessage();

  test('survive at every level of a model', () => {
    expect(canonical(saved(bytes))).toEqual(canonical(bytes));
  });

  test('survive when weights move to external data and back', () => {
    const model = decodeModel(bytes, 'test.onnx');
    saveModel(model, join(folder, 'moved.onnx'), { externalData: join(folder, 'moved.data') });
    const again = openModel(join(folder, 'moved.onnx'));
    expect(Buffer.from(encodeModel(again)).includes('future tensor raw')).toBe(true);
    expect(Buffer.from(encodeModel(again)).includes('future tensor typed')).toBe(true);
    // Two initializers, and a Constant node that is one when the file is opened.
    expect(
      [...again.graph.constants].map(({ tensor: made }) =>
        Buffer.from(made!.source.read()).equals(largeData),
      ),
    ).toEqual([true, true, true]);
  });
});

describe('an independent decoder', () => {
  test('sees the same model before and after', () => {
    const model = makeModel({ x: ['float32', ['n', 4]], flag: ['bool', []] }, (b, x, flag) => {
      const weight = b.constant(
        'weight',
        'float32',
        [4, 512],
        Array.from({ length: 2048 }, (_, i) => i),
      );
      const then = b.subgraph('then', (inner) => [inner.op('MatMul', [x, weight])]);
      const otherwise = b.subgraph('else', (inner) => [inner.op('Neg', [inner.op('MatMul', [x, weight])])]);
      return { y: b.op('If', [flag], { then_branch: then, else_branch: otherwise }) };
    });
    const bytes = encodeModel(model);
    expect(decode(saved(bytes))).toEqual(decode(bytes));
    expect(onnx.ModelProto.decode(bytes).graph?.node).toHaveLength(1);
  });
});

describe('graphs inside nodes', () => {
  test('of Loop and Scan read values around them after saving', async () => {
    const bytes = loopAndScan();
    const path = join(folder, 'loop.onnx');
    writeFileSync(path, bytes);
    const feeds = { x: float32([1, 2, 3]) };
    const before = await runModel(path, feeds);
    // Loop: x + 3 * w; Scan: running sum of x, each plus w.
    expect(before).toEqual({ looped: [31, 32, 33], scanned: [11, 13, 16] });
    saveModel(openModel(path), path);
    expect(await runModel(path, feeds)).toEqual(before);
    expect(canonical(saved(bytes))).toEqual(canonical(bytes));
  });
});

describe('older and unusual files', () => {
  test('of IR version 3 list initializers among the inputs', () => {
    const bytes = message(
      [1, 3],
      [8, message([2, 8])],
      [
        7,
        message(
          [2, 'g'],
          [1, node('Add', ['x', 'w'], ['y'])],
          [5, message([1, 1], [2, 1], [8, 'w'], [9, bytesOf(Float32Array.of(2))])],
          [11, valueInfo('x', 'float32', [1])],
          [11, valueInfo('w', 'float32', [1])],
          [12, valueInfo('y', 'float32', [1])],
        ),
      ],
    );
    const { graph } = decodeModel(bytes, 'old.onnx');
    expect(graph.inputs.map(({ name, tensor }) => [name, tensor !== null])).toEqual([
      ['x', false],
      ['w', true],
    ]);
    expect(canonical(saved(bytes))).toEqual(canonical(bytes));
  });

  test('with values that nothing defines are read, and the values listed', () => {
    const bytes = modelOf([
      [1, node('Neg', ['missing'], ['y'])],
      [12, valueInfo('y', 'float32', [1])],
    ]);
    expect(decodeModel(bytes, 'x.onnx').graph.undefinedValues.map(({ name }) => name)).toEqual(['missing']);
    expect(canonical(saved(bytes))).toEqual(canonical(bytes));
  });

  test('whose nodes have one name run after saving', async () => {
    const model = makeModel({ x: ['float32', [2]] }, (b, x) => ({
      y: b.op('Neg', [b.op('Abs', [b.op('Neg', [x])])]),
    }));
    for (const { proto } of model.graph.nodes) proto.name = 'same';
    model.graph.nodes[2].proto.name = 'same_2';
    const path = join(folder, 'same.onnx');
    saveModel(model, path);
    expect(await runModel(path, { x: float32([-2, 2]) })).toEqual({ y: [-2, -2] });
    expect(openModel(path).graph.nodes.map(({ name }) => name)).toEqual(['same', 'same_3', 'same_2']);
  });

  test('with functions run alike after saving', async () => {
    const path = join(folder, 'function.onnx');
    writeFileSync(path, functionCall());
    const feeds = { x: float32([-2, 2]) };
    expect(await runModel(path, feeds)).toEqual({ y: [-1, 2] });
    saveModel(openModel(path), path);
    expect(await runModel(path, feeds)).toEqual({ y: [-1, 2] });
  });
});

function decode(bytes: Uint8Array): object {
  return onnx.ModelProto.toObject(onnx.ModelProto.decode(bytes), {
    longs: String,
    bytes: String,
    defaults: true,
  });
}
