import { describe, expect, test } from 'vitest';
import { inlineFunctions } from '../../src/onnx/inline-functions.ts';
import type { Model } from '../../src/onnx/model.ts';
import { decodeModel } from '../../src/onnx/open-model.ts';
import { float32, runModel } from '../helpers/run-model.ts';
import type { Fields } from '../helpers/wire.ts';
import { bytesOf, message, modelOf, node, valueInfo, varint } from '../helpers/wire.ts';

interface FunctionOptions {
  attributes?: string[];
  overload?: string;
  opset?: number;
  extra?: Fields;
}

function functionOf(
  name: string,
  inputs: string[],
  outputs: string[],
  nodes: Uint8Array[],
  { attributes = [], overload = '', opset = 21, extra = [] }: FunctionOptions = {},
): Fields[0] {
  const lists: Fields = [
    ...inputs.map((each): Fields[0] => [4, each]),
    ...outputs.map((each): Fields[0] => [5, each]),
    ...attributes.map((each): Fields[0] => [6, each]),
    ...nodes.map((each): Fields[0] => [7, each]),
  ];
  const imports: Fields = [
    [9, message([2, opset])],
    [9, message([1, 'local'], [2, 1])],
  ];
  return [25, message([1, name], [10, 'local'], [13, overload], ...lists, ...imports, ...extra)];
}

function call(name: string, inputs: string[], outputs: string[], ...rest: Fields): Uint8Array {
  return Buffer.concat([node(name, inputs, outputs), message([7, 'local'], ...rest)]);
}

function floatAttribute(name: string, value: number): Uint8Array {
  return Buffer.concat([message([1, name], [20, 1]), varint(2 * 8 + 5), bytesOf(Float32Array.of(value))]);
}

/** An attribute of a body node that takes the value of an attribute of its function. */
function reference(name: string, type: number, to: string): Uint8Array {
  return message([1, name], [20, type], [21, to]);
}

/** A model from float32 x[2] to float32 y[2]. */
function modelWith(nodes: Uint8Array[], functions: Fields, graph: Fields = []): Model {
  const ports: Fields = [
    [11, valueInfo('x', 'float32', [2])],
    [12, valueInfo('y', 'float32', [2])],
  ];
  const fields: Fields = [...nodes.map((each): Fields[0] => [1, each]), ...ports, ...graph];
  return decodeModel(modelOf(fields, [[8, message([1, 'local'], [2, 1])], ...functions]), 'functions.onnx');
}

/** What a model gives with its functions, and with their bodies in their place. */
async function beforeAndAfter(model: Model): Promise<number[][]> {
  const feeds = { x: float32([-2, 3]) };
  const before = await runModel(model, feeds);
  inlineFunctions(model);
  const after = await runModel(model, feeds);
  return [before['y'], after['y'], [model.functions.length]];
}

const leak = functionOf(
  'Leak',
  ['a'],
  ['b'],
  [node('LeakyRelu', ['a'], ['b'], [reference('alpha', 1, 'slope')])],
  { attributes: ['slope'] },
);

describe('inlineFunctions', () => {
  test('binds attributes, and gives each copy of a body its own names', async () => {
    const model = modelWith(
      [
        call('Leak', ['x'], ['h'], [5, floatAttribute('slope', 0.5)]),
        call('Leak', ['h'], ['y'], [5, floatAttribute('slope', 0.25)]),
      ],
      [leak],
    );
    expect(await beforeAndAfter(model)).toEqual([[-0.25, 3], [-0.25, 3], [0]]);
    expect(model.graph.nodes.map(({ outputs }) => outputs[0]?.name)).toEqual(['h', 'y']);
  });

  test('uses the default of an attribute that is not given, declared by the function or by the operator', async () => {
    const declared = functionOf(
      'Declared',
      ['a'],
      ['b'],
      [node('LeakyRelu', ['a'], ['b'], [reference('alpha', 1, 'slope')])],
      { extra: [[11, floatAttribute('slope', 0.5)]] },
    );
    expect(await beforeAndAfter(modelWith([call('Declared', ['x'], ['y'])], [declared]))).toEqual([
      [-1, 3],
      [-1, 3],
      [0],
    ]);
    const [left] = (await runModel(modelWith([call('Leak', ['x'], ['y'])], [leak]), { x: float32([-2, 3]) }))[
      'y'
    ];
    expect(left).toBeCloseTo(-0.02);
    const model = modelWith([call('Leak', ['x'], ['y'])], [leak]);
    inlineFunctions(model);
    expect(model.graph.nodes[0].attributes.size).toBe(0);
  });

  test('expands functions that call functions, told apart by their overload', async () => {
    const outer = functionOf(
      'Outer',
      ['a'],
      ['c'],
      [call('Inner', ['a'], ['b'], [8, 'neg']), call('Inner', ['b'], ['c'], [8, 'abs'])],
    );
    const neg = functionOf('Inner', ['a'], ['b'], [node('Neg', ['a'], ['b'])], { overload: 'neg' });
    const abs = functionOf('Inner', ['a'], ['b'], [node('Abs', ['a'], ['b'])], { overload: 'abs' });
    const model = modelWith([call('Outer', ['x'], ['y'])], [outer, neg, abs]);
    expect(inlineFunctions(model)).toBe(3);
    expect(model.graph.sortedNodes().map(({ opType }) => opType)).toEqual(['Neg', 'Abs']);
    expect(await runModel(model, { x: float32([-2, 3]) })).toEqual({ y: [2, 3] });
  });

  test('expands calls in branches, and branches in bodies that read values of the body', async () => {
    const choose = functionOf(
      'Choose',
      ['a', 'flag'],
      ['b'],
      [
        node('Neg', ['a'], ['r_outer']),
        node(
          'If',
          ['flag'],
          ['b'],
          [
            branch('then_branch', call('Leak', ['r_outer'], ['r'], [5, floatAttribute('slope', 0.5)])),
            branch('else_branch', node('Identity', ['a'], ['r'])),
          ],
        ),
      ],
    );
    const yes: Fields[0] = [5, message([2, 9], [8, 'r'], [9, Uint8Array.of(1)])];
    const model = modelWith([call('Choose', ['x', 'r'], ['y'])], [choose, leak], [yes]);
    expect(await beforeAndAfter(model)).toEqual([[2, -1.5], [2, -1.5], [0]]);
  });

  test('passes inputs through, and leaves optional ones out', async () => {
    const through = functionOf('Through', ['a'], ['a'], []);
    const passing = modelWith([call('Through', ['x'], ['y'])], [through]);
    inlineFunctions(passing);
    expect(await runModel(passing, { x: float32([-2, 3]) })).toEqual({ y: [-2, 3] });
    const clip = functionOf(
      'Bound',
      ['a', 'low', 'high'],
      ['b'],
      [node('Clip', ['a', 'low', 'high'], ['b'])],
    );
    const one: Fields[0] = [5, message([2, 1], [8, 'one'], [9, bytesOf(Float32Array.of(1))])];
    expect(await beforeAndAfter(modelWith([call('Bound', ['x', '', 'one'], ['y'])], [clip], [one]))).toEqual([
      [-2, 1],
      [-2, 1],
      [0],
    ]);
  });

  test('leaves what the caller keeps, and the functions that needs', () => {
    const fused = functionOf('Fused', ['a'], ['b'], [call('Leak', ['a'], ['b'])]);
    const model = modelWith([call('Fused', ['x'], ['h']), call('Leak', ['h'], ['y'])], [fused, leak]);
    expect(inlineFunctions(model, ({ name }) => name === 'Fused')).toBe(1);
    expect(model.graph.nodes.map(({ opType }) => opType)).toEqual(['Fused', 'LeakyRelu']);
    expect(model.functions.map(({ name }) => name)).toEqual(['Fused', 'Leak']);
  });

  test.each<[string, Fields]>([
    ['FUNCTION_RECURSION', [functionOf('F0', ['a'], ['b'], [call('F0', ['a'], ['b'])])]],
    ['FUNCTION_OPSET', [functionOf('F0', ['a'], ['b'], [node('Neg', ['a'], ['b'])], { opset: 12 })]],
    [
      'FUNCTION_TOO_LARGE',
      Array.from({ length: 30 }, (_, i) =>
        functionOf(`F${i}`, ['a'], ['c'], [call(`F${i + 1}`, ['a'], ['b']), call(`F${i + 1}`, ['b'], ['c'])]),
      ),
    ],
    ['FUNCTION_UNSUPPORTED', [functionOf('F0', ['a'], ['b'], [node('Neg', ['a'], ['c'])])]],
  ])('refuses with %s', (code, functions) => {
    const model = modelWith([call('F0', ['x'], ['y'])], functions);
    expect(() => inlineFunctions(model)).toThrow(
      expect.objectContaining({ code, where: expect.any(String) }),
    );
  });
});

function branch(name: string, ...nodes: Uint8Array[]): Uint8Array {
  const fields = nodes.map((each): Fields[0] => [1, each]);
  return message([1, name], [20, 5], [6, message([2, name], ...fields, [12, message([1, 'r'])])]);
}
