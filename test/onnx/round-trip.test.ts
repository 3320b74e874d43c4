import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onnx } from 'onnx-proto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeModel, openModel } from '../../src/onnx/open-model.ts';
import { encodeModel, saveModel } from '../../src/onnx/save-model.ts';
import { makeModel } from '../helpers/make-model.ts';
import { float32, runModel } from '../helpers/run-model.ts';
import type { Fields } from '../helpers/wire.ts';
import { bytesOf, canonical, message, modelOf, node, valueInfo, varint } from '../helpers/wire.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-round-trip-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A field that no present version of ONNX knows, of each wire type. */
function future(level: string): Fields {
  return [
    [900, `future ${level}`],
    [901, 7],
  ];
}

function saved(bytes: Uint8Array): Uint8Array {
  return encodeModel(decodeModel(bytes, join(folder, 'test.onnx')));
}

describe('unknown fields', () => {
  const large = new Uint8Array(4096).fill(3);
  const tensor = (name: string, ...data: Fields): Uint8Array =>
    message(
      [1, 1024],
      [2, 1],
      ...data,
      [8, name],
      [3, message([1, 1], ...future('segment'))],
      ...future(`tensor ${name}`),
    );
  const type = message(
    [
      1,
      message(
        [1, 1],
        [2, message([1, message([1, 4], ...future('dim'))], ...future('shape'))],
        ...future('tensorType'),
      ),
    ],
    ...future('type'),
  );
  const value = (name: string): Uint8Array =>
    message(
      [1, name],
      [2, type],
      [4, message([1, 'k'], [2, 'v'], ...future('entry'))],
      ...future(`value ${name}`),
    );
  const branch = (name: string): Uint8Array =>
    message(
      [2, name],
      [1, node('Identity', ['x'], [`${name}_y`])],
      [12, value(`${name}_y`)],
      ...future(`branch ${name}`),
    );
  const attribute = (name: string, kind: number, ...content: Fields): Uint8Array =>
    message([1, name], [20, kind], ...content, ...future(`attribute ${name}`));
  const bytes = message(
    [1, 10],
    [2, 'producer'],
    [8, message([2, 21], ...future('opset'))],
    [14, message([1, 'k'], [2, 'v'], ...future('metadata'))],
    [20, message([1, 'training info, which is not modelled'])],
    [
      25,
      message(
        [1, 'F'],
        [10, 'local'],
        [4, 'a'],
        [5, 'b'],
        [
          7,
          message(
            [1, 'a'],
            [2, 'b'],
            [4, 'C'],
            [5, attribute('t', 4, [5, tensor('in function', [9, large])])],
          ),
        ],
        ...future('function'),
      ),
    ],
    [
      7,
      message(
        [2, 'main'],
        [11, value('x')],
        [12, value('y')],
        [13, value('flag')],
        [13, value('nothing has this name')],
        [5, tensor('raw', [9, large])],
        [5, tensor('typed', [4, large])],
        [15, message([1, tensor('sparse', [9, large])], [3, 4096], ...future('sparse'))],
        [
          14,
          message(
            [1, 'x'],
            [2, message([1, 'SCALE_TENSOR'], [2, 'raw'], ...future('parameter'))],
            ...future('annotation'),
          ),
        ],
        [
          1,
          message(
            [1, 'x'],
            [2, 'flag'],
            [4, 'Cast'],
            [5, attribute('to', 2, [3, 9])],
            [9, message([1, 'k'], ...future('node entry'))],
            ...future('node'),
          ),
        ],
        [
          1,
          message(
            [1, 'flag'],
            [2, 'y'],
            [4, 'If'],
            [5, attribute('then_branch', 5, [6, branch('then')])],
            [5, attribute('else_branch', 5, [6, branch('else')])],
          ),
        ],
        [
          1,
          message(
            [2, 'c'],
            [4, 'Constant'],
            [5, attribute('value', 4, [5, tensor('attribute', [9, large])])],
          ),
        ],
        [
          1,
          message(
            [2, 's'],
            [4, 'Constant'],
            [
              5,
              attribute('sparse_value', 11, [
                22,
                message([1, tensor('in attribute', [9, large])], [3, 4096]),
              ]),
            ],
          ),
        ],
        [
          1,
          message(
            [2, 'm'],
            [4, 'Custom'],
            [7, 'local'],
            [5, attribute('many', 9, [10, tensor('first', [9, large])], [10, tensor('second', [4, large])])],
          ),
        ],
        ...future('graph'),
      ),
    ],
    ...future('model'),
  );

  test('survive at every level of a model', () => {
    expect(canonical(saved(bytes))).toEqual(canonical(bytes));
  });

  test('survive when weights move to external data and back', () => {
    const model = decodeModel(bytes, 'test.onnx');
    saveModel(model, join(folder, 'moved.onnx'), { externalData: join(folder, 'moved.data') });
    const again = openModel(join(folder, 'moved.onnx'));
    expect(Buffer.from(encodeModel(again)).includes('future tensor raw')).toBe(true);
    expect(Buffer.from(encodeModel(again)).includes('future tensor typed')).toBe(true);
    expect(
      [...again.graph.constants].map(({ tensor: made }) => Buffer.from(made!.source.read()).equals(large)),
    ).toEqual([true, true]);
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

/** `w` is a constant of the outer graph that both bodies read by name. */
function loopAndScan(): Uint8Array {
  const loop = message(
    [2, 'loop'],
    [1, node('Identity', ['going'], ['go_on'])],
    [1, node('Add', ['state', 'w'], ['next'])],
    [11, valueInfo('step', 'int64', [])],
    [11, valueInfo('going', 'bool', [])],
    [11, valueInfo('state', 'float32', [3])],
    [12, valueInfo('go_on', 'bool', [])],
    [12, valueInfo('next', 'float32', [3])],
  );
  const scan = message(
    [2, 'scan'],
    [1, node('Add', ['sum', 'element'], ['new_sum'])],
    [1, node('Add', ['new_sum', 'w'], ['shifted'])],
    [11, valueInfo('sum', 'float32', [1])],
    [11, valueInfo('element', 'float32', [1])],
    [12, valueInfo('new_sum', 'float32', [1])],
    [12, valueInfo('shifted', 'float32', [1])],
  );
  return modelOf([
    [1, node('Loop', ['trips', 'yes', 'x'], ['looped'], [body(loop)])],
    [1, node('Reshape', ['x', 'column'], ['xs'])],
    [
      1,
      node(
        'Scan',
        ['zero', 'xs'],
        ['sum_out', 'stacked'],
        [body(scan), message([1, 'num_scan_inputs'], [20, 2], [3, 1])],
      ),
    ],
    [1, node('Reshape', ['stacked', 'row'], ['scanned'])],
    initializer('trips', 7, bytesOf(BigInt64Array.of(3n))),
    initializer('yes', 9, Uint8Array.of(1)),
    initializer('w', 1, bytesOf(Float32Array.of(10)), 1),
    initializer('zero', 1, bytesOf(Float32Array.of(0)), 1),
    initializer('column', 7, bytesOf(BigInt64Array.of(3n, 1n)), 2),
    initializer('row', 7, bytesOf(BigInt64Array.of(3n)), 1),
    [11, valueInfo('x', 'float32', [3])],
    [12, valueInfo('looped', 'float32', [3])],
    [12, valueInfo('scanned', 'float32', [3])],
  ]);
}

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

  test('with functions run alike after saving', async () => {
    const attribute = message([1, 'alpha'], [20, 1], [21, 'slope']);
    const body = message([1, 'a'], [2, 'b'], [4, 'LeakyRelu'], [5, attribute]);
    const definition = message(
      [1, 'Leak'],
      [10, 'local'],
      [4, 'a'],
      [5, 'b'],
      [6, 'slope'],
      [7, body],
      [9, message([2, 21])],
    );
    const slope = Buffer.concat([
      message([1, 'slope'], [20, 1]),
      varint(2 * 8 + 5),
      bytesOf(Float32Array.of(0.5)),
    ]);
    const call = message([1, 'x'], [2, 'y'], [4, 'Leak'], [7, 'local'], [5, slope]);
    const path = join(folder, 'function.onnx');
    writeFileSync(
      path,
      modelOf(
        [
          [1, call],
          [11, valueInfo('x', 'float32', [2])],
          [12, valueInfo('y', 'float32', [2])],
        ],
        [
          [8, message([1, 'local'], [2, 1])],
          [25, definition],
        ],
      ),
    );
    const feeds = { x: float32([-2, 2]) };
    expect(await runModel(path, feeds)).toEqual({ y: [-1, 2] });
    saveModel(openModel(path), path);
    expect(await runModel(path, feeds)).toEqual({ y: [-1, 2] });
  });
});

function initializer(name: string, type: number, raw: Uint8Array, ...dims: number[]): Fields[0] {
  return [5, message(...dims.map((dim) => [1, dim] as const), [2, type], [8, name], [9, raw])];
}

function body(graph: Uint8Array): Uint8Array {
  return message([1, 'body'], [20, 5], [6, graph]);
}

function decode(bytes: Uint8Array): object {
  return onnx.ModelProto.toObject(onnx.ModelProto.decode(bytes), {
    longs: String,
    bytes: String,
    defaults: true,
  });
}
