import { encodeModel } from '../../src/onnx/save-model.ts';
import { makeModel } from './make-model.ts';
import type { Fields } from './wire.ts';
import { bytesOf, message, modelOf, node, valueInfo, varint } from './wire.ts';

export const largeData = new Uint8Array(4096).fill(3);

/** A model that holds every message of ONNX, each with fields that no present version knows. Not runnable. */
export function everyMessage(): Uint8Array {
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
  return message(
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
            [5, attribute('t', 4, [5, tensor('in function', [9, largeData])])],
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
        [5, tensor('raw', [9, largeData])],
        [5, tensor('typed', [4, largeData])],
        [15, message([1, tensor('sparse', [9, largeData])], [3, 4096], ...future('sparse'))],
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
            [5, attribute('value', 4, [5, tensor('attribute', [9, largeData])])],
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
                message([1, tensor('in attribute', [9, largeData])], [3, 4096]),
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
            [
              5,
              attribute(
                'many',
                9,
                [10, tensor('first', [9, largeData])],
                [10, tensor('second', [4, largeData])],
              ),
            ],
          ),
        ],
        ...future('graph'),
      ),
    ],
    ...future('model'),
  );
}

/** A field that no present version of ONNX knows, of each wire type. */
function future(level: string): Fields {
  return [
    [900, `future ${level}`],
    [901, 7],
  ];
}

/** Runs on x[3]. `w` is a constant of the outer graph that both bodies read by name. */
export function loopAndScan(): Uint8Array {
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

/** y = LeakyRelu(x) with slope 0.5, through a model-local function with an attribute. Runs on x[2]. */
export function functionCall(): Uint8Array {
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
  return modelOf(
    [
      [1, call],
      [11, valueInfo('x', 'float32', [2])],
      [12, valueInfo('y', 'float32', [2])],
    ],
    [
      [8, message([1, 'local'], [2, 1])],
      [25, definition],
    ],
  );
}

function initializer(name: string, type: number, raw: Uint8Array, ...dims: number[]): Fields[0] {
  return [5, message(...dims.map((dim) => [1, dim] as const), [2, type], [8, name], [9, raw])];
}

function body(graph: Uint8Array): Uint8Array {
  return message([1, 'body'], [20, 5], [6, graph]);
}

/** Two tensors in a file beside the model, which has to hold at least 64 bytes. */
export function externalModel(location: string): Uint8Array {
  const tensor = (name: string, offset: number): Fields[0] => [
    5,
    message(
      [1, 8],
      [2, 1],
      [8, name],
      [13, message([1, 'location'], [2, location])],
      [13, message([1, 'offset'], [2, String(offset)])],
      [13, message([1, 'length'], [2, '32'])],
      [14, 1],
    ),
  ];
  return modelOf([
    [1, node('Add', ['a', 'b'], ['y'])],
    tensor('a', 0),
    tensor('b', 32),
    [12, valueInfo('y', 'float32', [8])],
  ]);
}

/** Constants in every form, all read. */
export function manyConstants(): Uint8Array {
  const model = makeModel({ x: ['float32', [2]] }, (b, x) => {
    const shape = b.op('Concat', [b.ints([1]), b.op('Constant', [], { value_ints: [2] })], { axis: 0 });
    const axis = b.op('Constant', [], { value_int: 0 });
    const scale = b.op('Identity', [b.op('Constant', [], { value_float: { f: 2 } })]);
    const label = b.op('Constant', [], { value_strings: { strings: ['a', 'b'] } });
    const scaled = b.op('Mul', [b.op('Reshape', [x, shape]), scale]);
    return { y: b.op('Squeeze', [scaled, axis]), label: b.op('Identity', [label]) };
  });
  return encodeModel(model);
}
