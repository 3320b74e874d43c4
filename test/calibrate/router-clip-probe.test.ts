import { describe, expect, test } from 'vitest';
import type { RouterClipSums, RouterClipTrial } from '../../src/calibrate/router-clip-probe.ts';
import { routerClipProbe } from '../../src/calibrate/router-clip-probe.ts';
import type { Batch } from '../../src/data/batches.ts';
import type { Model } from '../../src/onnx/model.ts';
import { dequantizeActivations, quantizeActivations } from '../../src/quantize/activation.ts';
import { clipRatios, quantizeRouter } from '../../src/quantize/quantize-router.ts';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { addValidInput } from '../../src/run/probe.ts';
import { runBatches } from '../../src/run/run-batches.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { rowsOf } from '../../src/tensor/matrix.ts';
import { makeModel } from '../helpers/make-model.ts';
import { gaussian } from '../quantize/random.ts';
import { oneBatch } from './one-batch.ts';

const [tokens, hidden, experts] = [20, 32, 6];
const x = gaussian(tokens, hidden, 1);
const bias = gaussian(1, experts, 2).data;

function setUp(
  weight: Matrix,
  top: number,
  added: Float32Array | null,
): { model: Model; trial: RouterClipTrial } {
  const model = makeModel({ x: ['float32', [1, 'tokens', hidden]] }, (b, input) => ({
    y: b.op('Neg', [input]),
  }));
  const input = model.graph.outputs[0];
  const candidates = clipRatios.map((ratio) => dequantize(quantizeRouter(weight, ratio)));
  return { model, trial: { input, weight, bias: added, candidates, top } };
}

async function measure({ model, trial }: ReturnType<typeof setUp>, batch: Batch): Promise<RouterClipSums> {
  const valid = addValidInput(model, [batch]);
  const probe = routerClipProbe(model.graph, trial, valid);
  model.graph.outputs = [...probe.outputs];
  await runBatches(model, [batch], { valid }, {}, (results) => probe.take(results, batch));
  return probe.sums;
}

describe.each([
  ['top 2', 2, bias, tokens],
  ['top 2 with padding', 2, bias, 13],
  ['all experts, no bias', experts, null, tokens],
] as const)('sums of the graph equal a slow reference: %s', (_name, top, added, length) => {
  test('for every candidate', async () => {
    const weight = gaussian(experts, hidden, 3);
    const { model, trial } = setUp(weight, top, added);
    const sums = await measure({ model, trial }, oneBatch(x, length));
    expect(sums.tokens).toBe(length);
    trial.candidates.forEach((candidate, c) => {
      const expected = slowSums(weight, candidate, { top, bias: added, length });
      expect(sums.squares[c] / expected.squares).toBeCloseTo(1, 4);
      expect(Math.abs(sums.divergence[c] - expected.divergence)).toBeLessThan(
        1e-4 * expected.divergence + 1e-5,
      );
      expect(expected.divergence).toBeGreaterThan(0);
    });
  });
});

test('a router whose only large weight reads a dead channel is best clipped at what the others need', async () => {
  // Multiples of 1/127 up to 1/2 lie on the grid of ratio 1/2; the weight of 1 lies beyond it and is never read.
  const weight = gaussian(experts, hidden, 4);
  weight.data.forEach((value, i) => {
    const code = Math.round(Math.max(-1, Math.min(1, value)) * 127);
    weight.data[i] = i % hidden === 0 ? 1 : i % hidden === 1 ? 0.5 : code / 254;
  });
  const dead = gaussian(tokens, hidden, 5);
  dead.data.forEach((_, i) => i % hidden === 0 && (dead.data[i] = 0));
  const { squares, divergence } = await measure(setUp(weight, 2, null), oneBatch(dead));
  const costs = clipRatios.map((_, c) => squares[c] + divergence[c]);
  expect(clipRatios[costs.indexOf(Math.min(...costs))]).toBe(0.5);
});

/** Squared errors and divergence of one candidate, token by token in float64. */
function slowSums(
  weight: Matrix,
  candidate: Matrix,
  { top, bias: added, length }: { top: number; bias: ArrayLike<number> | null; length: number },
): { squares: number; divergence: number } {
  const negated = rowsOf({ ...x, data: x.data.map((value) => -value) }, 0, length);
  const rounded = dequantizeActivations(quantizeActivations(negated, { bits: 8, block: negated.cols }));
  let [squares, divergence] = [0, 0];
  for (let t = 0; t < length; t++) {
    const [float, quantized] = [logitsOf(weight, negated, t), logitsOf(candidate, rounded, t)];
    squares += float.reduce((sum, value, e) => sum + (value - quantized[e]) ** 2, 0);
    const [p, q] = [float, quantized].map((logits) => softmax(logits.map((v, e) => v + (added?.[e] ?? 0))));
    const chosen = p
      .map((_, e) => e)
      .toSorted((a, b) => p[b] - p[a])
      .slice(0, top);
    const rest = (shares: number[]): number => 1 - chosen.reduce((sum, e) => sum + shares[e], 0);
    divergence += chosen.reduce((sum, e) => sum + p[e] * Math.log(p[e] / q[e]), 0);
    if (top < experts) divergence += rest(p) * Math.log(rest(p) / rest(q));
  }
  return { squares, divergence };
}

function logitsOf({ rows, cols, data }: Matrix, input: Matrix, token: number): number[] {
  return Array.from({ length: rows }, (_, e) => {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += data[e * cols + c] * input.data[token * cols + c];
    return sum;
  });
}

function softmax(logits: readonly number[]): number[] {
  const exps = logits.map(Math.exp);
  const total = exps.reduce((sum, value) => sum + value, 0);
  return exps.map((value) => value / total);
}
