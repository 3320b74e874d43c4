import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeBatches } from '../../src/data/batches.ts';
import type { ModelInput } from '../../src/data/model-input.ts';
import type { NumericArray } from '../../src/data/numeric-array.ts';
import { positionsOf } from '../../src/data/positions.ts';
import type { DataRecord } from '../../src/data/record.ts';
import { nextToken } from '../../src/verify/next-token.ts';
import { faultOf } from '../helpers/fault-of.ts';

const record = (inputs: Record<string, NumericArray>, source = 'd.jsonl:1'): DataRecord => ({
  source,
  task: null,
  inputs,
  answerStart: null,
});
const tokens = (...ids: number[]): NumericArray => ({
  dtype: 'int32',
  shape: [ids.length],
  data: Int32Array.from(ids),
});
const text = (...ids: number[]) => record({ input_ids: tokens(...ids) });
const masked = (ids: number[], mask: number[]) =>
  record({ input_ids: tokens(...ids), attention_mask: tokens(...mask) });
const floats = (shape: number[], data: number[]): NumericArray => ({
  dtype: 'float64',
  shape,
  data: Float64Array.from(data),
});
const inputIds: ModelInput = { name: 'input_ids', dtype: 'int64', shape: ['batch', 'sequence'] };
const declare = (name: string, dtype: string, ...shape: ModelInput['shape']): ModelInput => ({
  name,
  dtype,
  shape,
});
const all = (records: DataRecord[], inputs: ModelInput[], max?: number) => [
  ...makeBatches(records, inputs, max),
];

describe('makeBatches with dynamic dimensions', () => {
  test('what records mark as padding counts for nothing', () => {
    const inputs = [inputIds, declare('attention_mask', 'int64', 'batch', 'sequence')];
    const records = [masked([1, 2, 3], [0, 1, 1]), masked([4, 5, 6], [1, 1, 0])];
    const [batch] = all(records, inputs);
    expect([...batch.valid!]).toEqual([0, 1, 1, 1, 1, 0]);
    expect([...positionsOf(batch, 6)].map(({ record: index, step }) => [index, step])).toEqual([
      [0, 1],
      [0, 2],
      [1, 0],
      [1, 1],
    ]);
    expect([0, 1, 2].map((step) => nextToken(records[1], step))).toEqual([5, undefined, undefined]);
  });

  test('groups equal lengths, keeps the order, pads nothing', () => {
    const batches = all([text(1, 2), text(3), text(4, 5), text(6), text(7, 8)], [inputIds], 4);
    expect(
      batches.map(({ records, lengths, batch, sequence, valid }) => ({
        records,
        lengths,
        batch,
        sequence,
        valid,
      })),
    ).toEqual([
      { records: [0, 2], lengths: [2, 2], batch: 2, sequence: 2, valid: null },
      { records: [4], lengths: [2], batch: 1, sequence: 2, valid: null },
      { records: [1, 3], lengths: [1, 1], batch: 2, sequence: 1, valid: null },
    ]);
    expect(batches[0].feeds).toEqual({
      input_ids: { dtype: 'int64', dims: [2, 2], data: BigInt64Array.of(1n, 2n, 4n, 5n) },
    });
  });

  test('every token of every record is fed once, within the bound', () => {
    const sentences = fc.array(fc.array(fc.nat(99), { minLength: 1, maxLength: 6 }), {
      minLength: 1,
      maxLength: 20,
    });
    fc.assert(
      fc.property(sentences, fc.integer({ min: 1, max: 16 }), (rows, max) => {
        const seen: number[][] = [];
        for (const { feeds, records, batch, sequence } of makeBatches(
          rows.map((row) => text(...row)),
          [inputIds],
          max,
        )) {
          expect(batch === 1 || batch * sequence <= max).toBe(true);
          const data = [...(feeds['input_ids'].data as BigInt64Array)].map(Number);
          records.forEach((index, row) => (seen[index] = data.slice(row * sequence, (row + 1) * sequence)));
        }
        expect(seen).toEqual(rows);
      }),
    );
  });

  test('adds the inputs that follow from the tokens', () => {
    const [batch] = all(
      [text(5, 6, 7), text(8, 9, 10)],
      [
        inputIds,
        declare('attention_mask', 'int64', 'batch', 'total_sequence'),
        declare('position_ids', 'int32', 'batch', 'sequence'),
        declare('token_type_ids', 'float32', null, null),
        declare('past_key_values.0.key', 'float16', 'batch', 4, 'past_sequence', 32),
      ],
    );
    expect(batch.feeds['attention_mask']).toEqual({
      dtype: 'int64',
      dims: [2, 3],
      data: new BigInt64Array(6).fill(1n),
    });
    expect(batch.feeds['position_ids']).toEqual({
      dtype: 'int32',
      dims: [2, 3],
      data: Int32Array.of(0, 1, 2, 0, 1, 2),
    });
    expect(batch.feeds['token_type_ids']).toEqual({
      dtype: 'float32',
      dims: [2, 3],
      data: new Float32Array(6),
    });
    expect(batch.feeds['past_key_values.0.key']).toEqual({
      dtype: 'float16',
      dims: [2, 4, 0, 32],
      data: new Uint16Array(0),
    });
  });

  test('feeds hidden states, and converts numbers to the declared type', () => {
    const hidden = declare('hidden_states', 'float16', 'batch', 'sequence', 2);
    const [batch] = all([record({ hidden_states: floats([3, 2], [1, -2, 0.5, 0, 3, 4]) })], [hidden]);
    const data = Uint16Array.of(0x3c00, 0xc000, 0x3800, 0, 0x4200, 0x4400);
    expect(batch).toMatchObject({
      sequence: 3,
      lengths: [3],
      feeds: { hidden_states: { dims: [1, 3, 2], data } },
    });
  });

  test('takes a record of a model without sequence as one position', () => {
    const features = declare('features', 'float32', 'batch', 3);
    const records = [1, 2, 3].map((value) => record({ features: floats([3], [value, value, value]) }));
    const batches = all(records, [features], 2);
    expect(batches.map(({ batch, sequence, lengths }) => [batch, sequence, lengths])).toEqual([
      [2, 1, [1, 1]],
      [1, 1, [1]],
    ]);
  });

  test('keeps records apart that give different inputs', () => {
    const mask = declare('attention_mask', 'int64', 'batch', 'sequence');
    const masked = record({ input_ids: tokens(1, 2), attention_mask: floats([2], [0, 1]) });
    const batches = all([text(1, 2), masked], [inputIds, mask]);
    expect(batches.map(({ feeds }) => feeds['attention_mask'].data)).toEqual([
      BigInt64Array.of(1n, 1n),
      BigInt64Array.of(0n, 1n),
    ]);
  });
});

describe('makeBatches with fixed dimensions', () => {
  const fixed = [
    declare('input_ids', 'int32', 2, 3),
    declare('attention_mask', 'int32', 2, 3),
    declare('position_ids', 'int32', 2, 3),
  ];

  test('pads on the right and repeats the last record to fill the batch', () => {
    const batches = all([text(1, 2), text(3, 4, 5), text(6)], fixed);
    expect(batches.map(({ records, lengths, valid }) => ({ records, lengths, valid }))).toEqual([
      { records: [0, 1], lengths: [2, 3], valid: Uint8Array.of(1, 1, 0, 1, 1, 1) },
      { records: [2], lengths: [1], valid: Uint8Array.of(1, 0, 0, 0, 0, 0) },
    ]);
    expect(batches[0].feeds['input_ids'].data).toEqual(Int32Array.of(1, 2, 0, 3, 4, 5));
    expect(batches[0].feeds['attention_mask'].data).toEqual(Int32Array.of(1, 1, 0, 1, 1, 1));
    expect(batches[1].feeds['input_ids'].data).toEqual(Int32Array.of(6, 0, 0, 6, 0, 0));
    expect(batches[1].feeds['attention_mask'].data).toEqual(Int32Array.of(1, 0, 0, 1, 0, 0));
    expect(batches[1].feeds['position_ids'].data).toEqual(Int32Array.of(0, 1, 2, 0, 1, 2));
  });

  test('gives no mask where nothing is padded', () => {
    expect(all([text(1, 2, 3), text(4, 5, 6)], fixed)[0].valid).toBeNull();
  });

  test('marks exactly the positions of the records', () => {
    const sentences = fc.array(fc.array(fc.nat(99), { minLength: 1, maxLength: 5 }), {
      minLength: 1,
      maxLength: 9,
    });
    fc.assert(
      fc.property(sentences, (rows) => {
        const batches = all(
          rows.map((row) => text(...row)),
          [declare('input_ids', 'int64', 4, 5)],
        );
        const real = batches.flatMap(({ feeds, valid }) =>
          [...(feeds['input_ids'].data as BigInt64Array)]
            .map(Number)
            .filter((_, i) => !valid || valid[i] === 1),
        );
        expect(real).toEqual(rows.flat());
      }),
    );
  });

  test('pads every input that follows the sequence', () => {
    const hidden = [
      declare('hidden_states', 'float32', 1, 3, 2),
      declare('bias', 'float32', 1, 3),
      declare('scale', 'float32', 1, 1),
    ];
    const inputs = {
      hidden_states: floats([2, 2], [1, 2, 3, 4]),
      bias: floats([2], [5, 6]),
      scale: floats([1], [7]),
    };
    const [batch] = all([record(inputs)], hidden);
    expect(batch.feeds['hidden_states']).toEqual({
      dtype: 'float32',
      dims: [1, 3, 2],
      data: Float32Array.of(1, 2, 3, 4, 0, 0),
    });
    expect(batch.feeds['bias'].data).toEqual(Float32Array.of(5, 6, 0));
    expect(batch.feeds['scale'].data).toEqual(Float32Array.of(7));
  });
});

describe('makeBatches refuses', () => {
  const hidden = declare('hidden_states', 'float32', 'batch', 'sequence', 4);
  const cases: [string, DataRecord, ModelInput[], string, RegExp][] = [
    [
      'an unknown input',
      record({ input_ids: tokens(1), odd: tokens(1) }),
      [inputIds],
      'DATA_INPUT_UNKNOWN',
      /no input odd/,
    ],
    ['a missing input', text(1), [inputIds, hidden], 'DATA_INPUT_MISSING', /hidden_states/],
    [
      'missing tokens',
      record({ attention_mask: tokens(1) }),
      [inputIds, declare('attention_mask', 'int64', 'b', 's')],
      'DATA_INPUT_MISSING',
      /input_ids/,
    ],
    [
      'a cache that cannot be empty',
      text(1),
      [inputIds, declare('past_key', 'float32', 'batch', 4, 16, 8)],
      'DATA_INPUT_MISSING',
      /past_key/,
    ],
    [
      'another rank',
      record({ hidden_states: floats([4], [1, 2, 3, 4]) }),
      [hidden],
      'DATA_INPUT_SHAPE',
      /\[4\].*\[sequence, 4\]/,
    ],
    [
      'another width',
      record({ hidden_states: floats([1, 3], [1, 2, 3]) }),
      [hidden],
      'DATA_INPUT_SHAPE',
      /\[1, 3\].*\[sequence, 4\]/,
    ],
    [
      'unequal lengths',
      record({ input_ids: tokens(1, 2), position_ids: tokens(0) }),
      [inputIds, declare('position_ids', 'int64', 'b', 's')],
      'DATA_INPUT_SHAPE',
      /position_ids/,
    ],
    [
      'too many tokens',
      text(1, 2, 3),
      [declare('input_ids', 'int64', 'batch', 2)],
      'DATA_TOO_LONG',
      /3 positions .* takes 2/,
    ],
    [
      'a fraction as a token',
      record({ input_ids: floats([1], [1.5]) }),
      [inputIds],
      'DATA_INPUT_TYPE',
      /1\.5 does not fit .* int64/,
    ],
    [
      'a token out of range',
      record({ input_ids: tokens(-1) }),
      [declare('input_ids', 'uint8', 'b', 's')],
      'DATA_INPUT_TYPE',
      /-1 does not fit .* uint8/,
    ],
    [
      'a half that overflows',
      record({ hidden_states: floats([1, 1], [1e6]) }),
      [declare('hidden_states', 'float16', 'b', 's', 1)],
      'DATA_INPUT_TYPE',
      /1000000 does not fit/,
    ],
  ];
  test.each(cases)('%s', (_, bad, inputs, code, what) => {
    const fault = faultOf(() => all([bad], inputs));
    expect(fault).toMatchObject({ code, where: expect.stringMatching(/^d\.jsonl:1/) });
    expect(fault.what).toMatch(what);
  });

  test('records that are too long are to be cut, or the model is to take any length', () => {
    const fault = faultOf(() => all([text(1, 2, 3)], [declare('input_ids', 'int64', 'batch', 2)]));
    expect(fault.remedy).toMatch(/^cut its records to 2 positions, or export the model/);
  });

  test('an input that is no number', () => {
    expect(faultOf(() => all([text(1)], [inputIds, declare('words', 'string', 'batch')])).code).toBe(
      'DATA_INPUT_TYPE',
    );
  });
});
