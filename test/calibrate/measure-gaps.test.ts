import { expect, test } from 'vitest';
import type { RouterPair } from '../../src/calibrate/join-routers.ts';
import { measureGaps } from '../../src/calibrate/measure-gaps.ts';
import type { RouterLinear } from '../../src/emit/router-linear.ts';
import { linearView } from '../../src/emit/plain-linear.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { MatrixView } from '../../src/tensor/view.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { transpose } from '../../src/tensor/matrix.ts';
import { makeModel } from '../helpers/make-model.ts';
import { gaussian } from '../quantize/random.ts';
import { oneBatch } from './one-batch.ts';

const [tokens, hidden, experts] = [16, 12, 5];
const x = gaussian(tokens, hidden, 1);
const weight = gaussian(experts, hidden, 2);
const shift = gaussian(1, hidden, 3).data.map((value) => value / 10);

/** A router that reads x + `offset`. */
function routerModel(offset: Float32Array): { model: Model; linear: RouterLinear } {
  const model = makeModel({ x: ['float32', [1, 'tokens', hidden]] }, (b, input) => {
    const states = b.op('Add', [input, b.constant('offset', 'float32', [hidden], offset)]);
    return {
      logits: b.op('MatMul', [states, b.constant('w', 'float32', [hidden, experts], transpose(weight).data)]),
    };
  });
  const [product] = model.graph.outputs;
  const node = product.producer!;
  const constant = node.inputs[1]!;
  const view = linearView(node, constant) as MatrixView;
  return { model, linear: { node, input: node.inputs[0]!, product, constant, view } };
}

test.each([
  ['top 2', 2, tokens],
  ['top 2 with padding', 2, 11],
  ['every expert', null, tokens],
])('sums of the graph equal a slow reference: %s', async (_name, topK, length) => {
  const original = routerModel(new Float32Array(hidden));
  const changed = routerModel(shift);
  const pair: RouterPair = {
    original: original.linear,
    logits: original.linear.product,
    topK,
    changed: changed.linear,
  };
  const batches = [oneBatch(x, length), oneBatch(gaussian(tokens, hidden, 4))];
  const [{ gram, cross }] = await measureGaps(original.model, changed.model, [pair], batches);
  const expected = [slowGap(x, length, topK), slowGap(gaussian(tokens, hidden, 4), tokens, topK)];
  gram.forEach((value, i) => expect(value).toBeCloseTo(expected[0].gram[i] + expected[1].gram[i], 3));
  cross.forEach((value, i) => expect(value).toBeCloseTo(expected[0].cross[i] + expected[1].cross[i], 3));
  expect(Math.max(...cross)).toBeGreaterThan(0.1);
});

/** Weighted sums over the first tokens of a batch, in float64. */
function slowGap(
  { data }: Matrix,
  length: number,
  topK: number | null,
): { gram: Float64Array; cross: Float64Array } {
  const states = (offset: Float32Array): number[][] =>
    Array.from({ length }, (_, t) => Array.from(offset, (value, c) => data[t * hidden + c] + value));
  const logits = (rows: number[][]): number[][] =>
    rows.map((row) =>
      Array.from({ length: experts }, (_, e) =>
        row.reduce((sum, value, c) => sum + value * weight.data[e * hidden + c], 0),
      ),
    );
  const [plain, moved] = [states(new Float32Array(hidden)), states(shift)];
  const [before, after] = [logits(plain), logits(moved)];
  const lacking = before.map((row, t) => row.map((value, e) => value - after[t][e]));
  const meanSquare = lacking.flat().reduce((sum, value) => sum + value ** 2, 0) / (length * experts);
  const gap = { gram: new Float64Array(hidden * hidden), cross: new Float64Array(hidden * experts) };
  for (let t = 0; t < length; t++) {
    const sorted = before[t].toSorted((a, b) => b - a);
    const margin = topK === null ? 0 : sorted[topK - 1] - sorted[topK];
    const share = 1 / (1 + margin ** 2 / (4 * meanSquare));
    for (let c = 0; c < hidden; c++) {
      for (let j = 0; j < hidden; j++) gap.gram[c * hidden + j] += share * moved[t][c] * moved[t][j];
      for (let e = 0; e < experts; e++) gap.cross[c * experts + e] += share * moved[t][c] * lacking[t][e];
    }
  }
  return gap;
}
