import { expect, test } from 'vitest';
import { keptFlags } from '../../src/calibrate/kept-rows.ts';
import type { Batch } from '../../src/data/batches.ts';
import { makeBatches } from '../../src/data/batches.ts';
import { declaredInputs } from '../../src/data/model-input.ts';
import { positionsOf } from '../../src/data/positions.ts';
import type { DataRecord } from '../../src/data/record.ts';
import { builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import { addValidInput } from '../../src/run/probe.ts';
import { runBatches } from '../../src/run/run-batches.ts';
import { makeModel } from '../helpers/make-model.ts';

/** Rows of batches of two, padded to three positions. */
function modelOf(rowsPerRecord: number): Model {
  return makeModel({ input_ids: ['int64', [2, 3]] }, (b, input) => {
    const batch = b.op('Shape', [input], { start: 0, end: 1 });
    const shape = b.op('Concat', [b.op('Mul', [batch, b.ints([rowsPerRecord])]), b.ints([1])], { axis: 0 });
    return { rows: b.op('ConstantOfShape', [shape]) };
  });
}

const record = (length: number): DataRecord => ({
  source: 'test',
  task: null,
  inputs: { input_ids: { dtype: 'int32', shape: [length], data: new Int32Array(length) } },
  answerStart: null,
});

async function flagsOf(rowsPerRecord: number): Promise<{ flags: number[]; batch: Batch }[]> {
  const model = modelOf(rowsPerRecord);
  const batches = [...makeBatches([record(3), record(1), record(2)], declaredInputs(model))];
  const valid = addValidInput(model, batches)!;
  const keep = keptFlags(builder(model.graph, 'test'), model.graph.outputs[0], valid);
  model.graph.outputs = [keep];
  const seen: { flags: number[]; batch: Batch }[] = [];
  await runBatches(model, batches, { valid }, {}, (results, batch) =>
    seen.push({ flags: Array.from(results[keep.name].data as Uint8Array), batch }),
  );
  return seen;
}

test.each([
  [
    3,
    [
      [1, 1, 1, 1, 0, 0],
      [1, 1, 0, 0, 0, 0],
    ],
  ],
  [
    2,
    [
      [1, 1, 1, 1],
      [1, 1, 0, 0],
    ],
  ],
  [
    1,
    [
      [1, 1],
      [1, 0],
    ],
  ],
])('%i rows per record are padding as positionsOf says', async (rowsPerRecord, expected) => {
  const seen = await flagsOf(rowsPerRecord);
  expect(seen.map(({ flags }) => flags)).toEqual(expected);
  for (const { flags, batch } of seen) {
    const real = [...positionsOf(batch, flags.length)].map(({ at }) => at);
    expect(flags.flatMap((flag, at) => (flag ? [at] : []))).toEqual(real);
  }
});
