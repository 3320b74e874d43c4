import { Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import type { Builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import { raiseOpset } from '../../src/onnx/raise-opset.ts';
import type { Value } from '../../src/onnx/value.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { makeModel } from '../helpers/make-model.ts';
import { float32, runModel } from '../helpers/run-model.ts';

type Build = (b: Builder, x: Value) => Value | Value[];

/** x [1, 2, 4, 6] through some operators. */
function modelOf(build: Build, opset: number): Model {
  return makeModel(
    { x: ['float32', [1, 2, 4, 6]] },
    (b, x) => Object.fromEntries([build(b, x)].flat().map((value, i) => [`y${i}`, value])),
    { opset, irVersion: 8 },
  );
}

const input = float32(
  Array.from({ length: 48 }, (_, i) => Math.sin(i * 1.7) + 1.5),
  [1, 2, 4, 6],
);

const reductions = [
  'ReduceL1',
  'ReduceL2',
  'ReduceLogSum',
  'ReduceLogSumExp',
  'ReduceMax',
  'ReduceMean',
  'ReduceMin',
  'ReduceProd',
  'ReduceSumSquare',
];

const cases: [string, number, Build][] = [
  ...reductions.map((op): [string, number, Build] => [
    `${op} over axes`,
    13,
    (b, x) => b.op(op, [x], { axes: [1, -1], keepdims: 0 }),
  ]),
  ['a reduction over everything', 13, (b, x) => b.op('ReduceMean', [x])],
  ['ReduceSum, whose axes are an input already', 13, (b, x) => b.op('ReduceSum', [x, b.ints([2])])],
  ['Split into equal parts', 13, (b, x) => b.ops(3, 'Split', [x], { axis: 3 })],
  ['Split by sizes', 13, (b, x) => b.ops(2, 'Split', [x, b.ints([1, 5])], { axis: 3 })],
  ['Softmax', 13, (b, x) => b.op('Softmax', [x], { axis: 1 })],
  [
    'GridSample',
    16,
    (b, x) =>
      b.op('GridSample', [x, gridOf(b)], { mode: 'bilinear', padding_mode: 'border', align_corners: 0 }),
  ],
  ['GridSample by default', 16, (b, x) => b.op('GridSample', [x, gridOf(b)])],
  ['cubic GridSample', 16, (b, x) => b.op('GridSample', [x, gridOf(b)], { mode: 'bicubic' })],
  ['DFT along its default axis', 17, (b, x) => b.op('DFT', [b.op('Reshape', [x, b.ints([2, 24, 1])])])],
  ['DFT along an axis', 17, (b, x) => b.op('DFT', [b.op('Reshape', [x, b.ints([4, 2, 6, 1])])], { axis: 2 })],
  [
    'RoiAlign',
    13,
    (b, x) =>
      b.op(
        'RoiAlign',
        [
          x,
          b.constant('rois', 'float32', [1, 4], [0.3, 0.2, 4.7, 2.9]),
          b.constant('batch', 'int64', [1], [0]),
        ],
        { output_height: 2, output_width: 2 },
      ),
  ],
  [
    'a reduction inside of an If',
    13,
    (b, x) =>
      b.op('If', [b.constant('always', 'bool', [], [1])], {
        then_branch: b.subgraph('then', (inner) => [inner.op('ReduceMax', [x], { axes: [3] })]),
        else_branch: b.subgraph('else', (inner) => [inner.op('ReduceMin', [x], { axes: [3] })]),
      }),
  ],
  [
    'LayerNormalization',
    17,
    (b, x) => b.op('LayerNormalization', [x, b.constant('one', 'float32', [6], [1, 2, 3, 4, 5, 6])]),
  ],
  [
    'Resize',
    13,
    (b, x) => b.op('Resize', [x, null, b.constant('s', 'float32', [4], [1, 1, 2, 2])], { mode: 'linear' }),
  ],
];

function gridOf(b: Builder): Value {
  const points = Array.from({ length: 12 }, (_, i) => Math.cos(i * 2.3));
  return b.constant('grid', 'float32', [1, 2, 3, 2], points);
}

describe.each([18, 20, 21, 22, 23, 24, 25, 26])('raised to opset %i', (target) => {
  // ONNX Runtime 1.30 has no RoiAlign of opset 22.
  test.each(cases.filter(([name]) => name !== 'RoiAlign' || target < 22))(
    '%s gives the same numbers',
    async (_name, opset, build) => {
      const before = await runModel(modelOf(build, opset), { x: input });
      const raised = modelOf(build, opset);
      raiseOpset(raised, target);
      expect(raised.opsets.get('')).toBe(target);
      const after = await runModel(raised, { x: input });
      for (const [name, values] of Object.entries(before)) {
        expect(after[name]).toHaveLength(values.length);
        values.forEach((value, i) => expect(after[name][i]).toBeCloseTo(value, 5));
      }
    },
  );
});

function groupNormalization(b: Builder, x: Value): Value {
  const ones = b.constant('ones', 'float32', [2], [1, 1]);
  return b.op('GroupNormalization', [x, ones, ones], { num_groups: 2 }, { name: 'norm' });
}

function biasGelu(b: Builder, x: Value): Value {
  const bias = b.constant('bias', 'float32', [6], [0, 0, 0, 0, 0, 0]);
  return b.op('BiasGelu', [x, bias], {}, { domain: 'com.microsoft' });
}

const identity: Build = (b, x) => b.op('Identity', [x]);

test.each([
  [18, 8],
  [21, 10],
  [22, 10],
  [23, 11],
  [24, 12],
  [25, 13],
  [26, 13],
])('opset %i asks for IR version %i', (opset, irVersion) => {
  const model = modelOf(identity, 13);
  raiseOpset(model, opset);
  expect(model.irVersion).toBe(irVersion);
});

test('a model that is there already stays as it is', () => {
  const model = modelOf(identity, 23);
  raiseOpset(model, 21);
  expect([model.opsets.get(''), model.irVersion]).toEqual([23, 8]);
});

test('operators of other domains are not touched', async () => {
  const model = modelOf(biasGelu, 13);
  model.opsets.set('com.microsoft', 1);
  raiseOpset(model, 25);
  expect(model.graph.nodes[0].inputs).toHaveLength(2);
  const { y0 } = await runModel(model, { x: new Tensor('float32', new Float32Array(48), [1, 2, 4, 6]) });
  expect(y0.every((value) => value === 0)).toBe(true);
});

describe('refused is', () => {
  test('a model below opset 13', () => {
    const fault = faultOf(() => raiseOpset(modelOf(identity, 12), 21));
    expect(fault.code).toBe('OPSET_RAISE');
    expect(fault.why).toBe('it uses opset 12');
  });

  test('GroupNormalization from before opset 21, whose scales were per group', () => {
    expect(faultOf(() => raiseOpset(modelOf(groupNormalization, 18), 21)).why).toMatch(/GroupNormalization/);
    const fine = modelOf(groupNormalization, 18);
    raiseOpset(fine, 20);
    expect(fine.opsets.get('')).toBe(20);
  });

  test('a model with local functions', () => {
    const model = modelOf(identity, 17);
    model.functions.push({ name: 'f', domain: 'local' });
    expect(faultOf(() => raiseOpset(model, 21)).why).toBe('it has local functions');
  });
});
