import { Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { addOutputs, extractSubgraph } from '../../src/onnx/extract.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { makeModel } from '../helpers/make-model.ts';
import { float32, runModel } from '../helpers/run-model.ts';

/** y = -(2x + 1) if flag, otherwise (2x + 1) * 2. */
function branching(): { model: Model; values: Record<string, Value> } {
  const values: Record<string, Value> = {};
  const model = makeModel({ x: ['float32', [2]], flag: ['bool', []] }, (b, x, flag) => {
    const two = b.constant('two', 'float32', [], [2]);
    const one = b.constant('one', 'float32', [], [1]);
    values['doubled'] = b.op('Mul', [x, two], {}, { name: 'doubled' });
    const sum = b.op('Add', [values['doubled'], one], {}, { name: 'sum' });
    const then = b.subgraph('then', (inner) => {
      values['inThen'] = inner.op('Neg', [sum]);
      return [values['inThen']];
    });
    const otherwise = b.subgraph('else', (inner) => [inner.op('Mul', [sum, two])]);
    values['sum'] = sum;
    return { y: b.op('If', [flag], { then_branch: then, else_branch: otherwise }) };
  });
  values['flag'] = model.graph.inputs[1];
  values['y'] = model.graph.outputs[0];
  return { model, values };
}

const no = new Tensor('bool', Uint8Array.of(0), []);

describe('extractSubgraph', () => {
  test('gives a model of its own, with branches and the constants they read', async () => {
    const { model, values } = branching();
    const types = new Map([[values['sum'], 'float32' as const]]);
    const part = extractSubgraph(model, [values['sum'], values['flag']], [values['y']], types);
    expect(part.graph.nodes).toHaveLength(1);
    expect(await runModel(part, { sum: float32([3, 5]), flag: no })).toEqual({ y: [6, 10] });
    const whole = await runModel(model, { x: float32([1, 2]), flag: no });
    expect(whole).toEqual({ y: [6, 10] });
  });

  test('shares weights with the model', () => {
    const { model, values } = branching();
    const part = extractSubgraph(model, [model.graph.inputs[0]], [values['doubled']]);
    const [weight] = part.graph.constants;
    expect([...model.graph.constants].some(({ tensor }) => tensor === weight.tensor)).toBe(true);
    expect(model.graph.nodes).toHaveLength(3);
  });

  test('takes a value out of a branch, with what it reads outside', async () => {
    const { model, values } = branching();
    const part = extractSubgraph(model, [model.graph.inputs[0]], [values['inThen'], values['sum']]);
    const results = Object.values(await runModel(part, { x: float32([1, 2]) }));
    expect(results).toEqual([
      [-3, -5],
      [3, 5],
    ]);
  });

  test('says which value is missing', () => {
    const { model, values } = branching();
    expect(() => extractSubgraph(model, [values['flag']], [values['y']])).toThrow(
      expect.objectContaining({ code: 'EXTRACT_OPEN', where: 'value x' }),
    );
    expect(() => extractSubgraph(model, [values['sum']], [values['y']])).toThrow(
      expect.objectContaining({ code: 'EXTRACT_UNTYPED' }),
    );
  });
});

describe('addOutputs', () => {
  test('makes inner values visible to a run, each once', async () => {
    const { model, values } = branching();
    addOutputs(model, [values['doubled'], values['y'], values['doubled']]);
    expect(await runModel(model, { x: float32([1, 2]), flag: no })).toEqual({ y: [6, 10], doubled: [2, 4] });
  });

  test('refuses values that only exist in a branch', () => {
    const { model, values } = branching();
    expect(() => addOutputs(model, [values['inThen']])).toThrow(
      expect.objectContaining({ code: 'EXTRACT_OPEN' }),
    );
  });
});
