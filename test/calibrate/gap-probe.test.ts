import { expect, test } from 'vitest';
import type { OriginalLogits } from '../../src/calibrate/gap-probe.ts';
import { gapProbe } from '../../src/calibrate/gap-probe.ts';
import type { Batch } from '../../src/data/batches.ts';
import { linearView } from '../../src/emit/linears/plain-linear.ts';
import type { RouterLinear } from '../../src/emit/linears/router-linear.ts';
import type { Model } from '../../src/onnx/model.ts';
import { addValidInput } from '../../src/run/probe.ts';
import { runBatches } from '../../src/run/run-batches.ts';
import type { Feeds, RunTensor } from '../../src/runtime/session.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { transpose } from '../../src/tensor/matrix.ts';
import type { MatrixView } from '../../src/tensor/view.ts';
import { makeModel } from '../helpers/make-model.ts';
import { gaussian } from '../quantize/random.ts';
import { oneBatch } from './one-batch.ts';

const [tokens, hidden, experts] = [16, 12, 5];
const x = gaussian(tokens, hidden, 1);
const weight = gaussian(experts, hidden, 2);
const shift = gaussian(1, hidden, 3).data.map((value) => value / 10);

/** A router that reads x + shift. */
function shiftedRouter(): { model: Model; linear: RouterLinear } {
  const model = makeModel({ x: ['float32', [1, 'tokens', hidden]] }, (b, input) => {
    const states = b.op('Add', [input, b.constant('shift', 'float32', [hidden], shift)]);
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
  const { model, linear } = shiftedRouter();
  const batches = [oneBatch(x, length), oneBatch(gaussian(tokens, hidden, 4))];
  const valid = addValidInput(model, batches);
  const probe = gapProbe(model.graph, { linear, topK }, originalLogits, valid);
  model.graph.outputs = [...probe.outputs];
  const more = (batch: Batch): Feeds => probe.feeds!(batch);
  await runBatches(model, batches, { valid, more }, {}, (results, batch) => probe.take(results, batch));
  const { gram, cross } = probe.sums;
  const expected = [slowGap(x, length, topK), slowGap(gaussian(tokens, hidden, 4), tokens, topK)];
  gram.forEach((value, i) => expect(value).toBeCloseTo(expected[0].gram[i] + expected[1].gram[i], 3));
  cross.forEach((value, i) => expect(value).toBeCloseTo(expected[0].cross[i] + expected[1].cross[i], 3));
  expect(Math.max(...cross)).toBeGreaterThan(0.1);
});

/** x + `offset` of the first tokens. */
function statesOf(data: ArrayLike<number>, offset: Float32Array, length: number): number[][] {
  return Array.from({ length }, (_, t) => Array.from(offset, (value, c) => data[t * hidden + c] + value));
}

function productOf(rows: readonly number[][]): number[][] {
  return rows.map((row) =>
    Array.from({ length: experts }, (_, e) =>
      row.reduce((sum, value, c) => sum + value * weight.data[e * hidden + c], 0),
    ),
  );
}

/** What the router made of a batch while it read x as it is, padding included. */
function originalLogits({ feeds }: Batch): OriginalLogits {
  const { data } = feeds.x as { data: Float32Array };
  const rows = productOf(statesOf(data, new Float32Array(hidden), tokens));
  const values: RunTensor = {
    dtype: 'float32',
    dims: [tokens, experts],
    data: Float32Array.from(rows.flat()),
  };
  return { product: values, logits: values };
}

/** Weighted sums over the first tokens of a batch, in float64. */
function slowGap(
  { data }: Matrix,
  length: number,
  topK: number | null,
): { gram: Float64Array; cross: Float64Array } {
  const [plain, moved] = [new Float32Array(hidden), shift].map((offset) => statesOf(data, offset, length));
  const [before, after] = [plain, moved].map(productOf);
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
