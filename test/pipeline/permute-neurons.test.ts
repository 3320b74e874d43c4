import { expect, test } from 'vitest';
import type { ExpertWeights } from '../../src/moe/read-expert.ts';
import { permuteHessian, permuteNeurons } from '../../src/pipeline/layer/permute-neurons.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix, transpose } from '../../src/tensor/matrix.ts';
import { gaussian } from '../quantize/random.ts';

const [hidden, neurons, tokens] = [5, 6, 7];
const order = Uint32Array.of(4, 0, 5, 2, 1, 3);
const expert: ExpertWeights = {
  gate: { weight: gaussian(neurons, hidden, 1), bias: gaussian(1, neurons, 2).data },
  up: { weight: gaussian(neurons, hidden, 3), bias: null },
  down: { weight: gaussian(hidden, neurons, 4), bias: gaussian(1, hidden, 5).data },
};

/** relu(gate) · up, [tokens, neurons]. */
function hiddenOf({ gate, up }: ExpertWeights, x: Matrix): Matrix {
  const gates = gemm(x, transpose(gate!.weight)).data;
  const ups = gemm(x, transpose(up.weight)).data;
  const data = ups.map((value, i) => value * Math.max(0, gates[i] + gate!.bias![i % neurons]));
  return matrix(tokens, neurons, data);
}

function gramOf(h: Matrix): Matrix {
  return gemm(transpose(h), h);
}

test('an expert with its neurons in another order computes the same', () => {
  const x = gaussian(tokens, hidden, 6);
  const permuted = permuteNeurons(expert, order);
  const [before, after] = [hiddenOf(expert, x), hiddenOf(permuted, x)];
  expect(after.data).toEqual(before.data.map((_, i) => before.data[i - (i % neurons) + order[i % neurons]]));
  const outputs = gemm(before, transpose(expert.down.weight)).data;
  gemm(after, transpose(permuted.down.weight)).data.forEach((value, i) =>
    expect(value).toBeCloseTo(outputs[i], 3),
  );
  expect(permuted.down.bias).toEqual(expert.down.bias);
});

test('the Hessian follows', () => {
  const x = gaussian(tokens, hidden, 7);
  const { data } = permuteHessian(gramOf(hiddenOf(expert, x)), order);
  const expected = gramOf(hiddenOf(permuteNeurons(expert, order), x)).data;
  data.forEach((value, i) => expect(value).toBeCloseTo(expected[i], 2));
});
