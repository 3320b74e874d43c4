import { expect, test } from 'vitest';
import { measureActivations } from '../../src/calibrate/measure-activations.ts';
import { dequantizeActivations, quantizeActivations } from '../../src/quantize/activation.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { makeModel } from '../helpers/make-model.ts';
import { gaussian } from '../quantize/random.ts';
import { oneBatch } from './one-batch.ts';

const ratios = [1, 0.9, 0.7];

/** What the reference loses of some rows, with each candidate. */
function slowErrors(x: Matrix, bits: number): number[] {
  return ratios.map((clip) => {
    const { data } = dequantizeActivations(quantizeActivations(x, { bits, clip }));
    return data.reduce((sum, value, i) => sum + (value - x.data[i]) ** 2, 0);
  });
}

const [tokens, hidden] = [20, 32];
const x = gaussian(tokens, hidden, 1);
/** Rows of pairs: the tokens in another order, some twice. */
const pairs = [3, 3, 0, 19, 7, 12, 15, 1];

test.each([
  [4, tokens],
  [4, 13],
  [3, 13],
  [8, 13],
])('the graph finds the errors of a slow reference, of %i bits and %i tokens', async (bits, length) => {
  const model = makeModel({ x: ['float32', [1, 'tokens', hidden]] }, (b, input) => {
    const rows = b.op('Reshape', [input, b.ints([-1, hidden])]);
    const order = b.ints(pairs);
    return { rows, order, gathered: b.op('Gather', [rows, order]) };
  });
  const [rows, order, gathered] = model.graph.outputs;
  const layer = {
    rows: {
      input: { rows, tokens: rows, places: null },
      hidden: { rows: gathered, tokens: rows, places: order },
    },
    output: gathered,
  };
  const nodes = model.graph.nodes.length;
  const [errors] = await measureActivations(model, [layer], { bits, ratios }, [oneBatch(x, length)]);
  expect(model.graph.nodes).toHaveLength(nodes);

  const rowsAt = (which: number[]): Matrix =>
    matrix(
      which.length,
      hidden,
      Float32Array.from(which.flatMap((t) => [...x.data.subarray(t * hidden, (t + 1) * hidden)])),
    );
  const expected = {
    input: slowErrors(rowsAt(Array.from({ length }, (_, t) => t)), bits),
    hidden: slowErrors(rowsAt(pairs.filter((t) => t < length)), bits),
  };
  for (const part of ['input', 'hidden'] as const)
    expected[part].forEach((error, i) => expect(errors[part][i] / error).toBeCloseTo(1, 4));
});
