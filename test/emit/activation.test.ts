import { describe, expect, it } from 'vitest';
import { applyActivation, emitActivation } from '../../src/emit/activation.ts';
import type { Activation, Formula, FormulaStep } from '../../src/moe/moe-layer.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { makeModel } from '../helpers/make-model.ts';
import { randomFeeds, valuesOf } from '../moe/helpers/run-model.ts';

const plain = { alpha: 1, limit: null, upOffset: 0 };
const operators =
  'Abs Celu Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Mish Selu Softplus Softsign Tanh ThresholdedRelu'.split(
    ' ',
  );
const activations: Record<string, Activation> = {
  silu: { ...plain, name: 'silu' },
  'silu of a cut gate': { name: 'silu', alpha: 1.702, limit: 0.8, upOffset: 1 },
  'silu cut afterwards': { ...plain, name: 'capped-silu', limit: 0.8 },
  relu2: { ...plain, name: 'relu2' },
  'a formula': formula(step('Where', step('Greater', 'x', 0), step('Add', 'x', 1), step('Exp', 'x'))),
  'a formula of a cut input': formula({
    ...step('Elu', step('Clip', 'x', null, 0.5)),
    attributes: { alpha: { f: 0.7 } },
  }),
  ...Object.fromEntries(operators.map((opType) => [opType, formula(step(opType, 'x'))])),
  PRelu: formula(step('PRelu', 'x', 0.3)),
};

function formula(written: Formula): Activation {
  return { ...plain, name: 'elementwise', formula: written };
}

function step(opType: string, ...inputs: (Formula | null)[]): FormulaStep {
  return { opType, inputs, attributes: {} };
}

describe.each(Object.entries(activations))(
  'the nodes of %s compute what their twin does',
  (_, activation) => {
    it.each([true, false])('with a gate: %s', async (isGated) => {
      const shape = ['float32', ['n', 6]] as const;
      const model = makeModel({ gate: shape, up: shape }, (b, gate, up) => ({
        hidden: emitActivation(b, activation, isGated ? gate : null, up),
      }));
      const feeds = randomFeeds(model);
      const [gate, up] = model.graph.inputs.map(({ name }) => matrix(2, 6, feeds[name].data as Float32Array));
      const { data } = applyActivation(activation, isGated ? gate : null, up);
      const [hidden] = model.graph.outputs;
      const values = (await valuesOf(model, [hidden], feeds)).get(hidden)!;
      data.forEach((value, at) => expect(values[at]).toBeCloseTo(value, 5));
    });
  },
);
