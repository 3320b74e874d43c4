import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { jsonlRecords } from '../../src/data/jsonl.ts';
import { readRecords } from '../../src/data/records.ts';
import { byteTokenizer, openTokenizer } from '../../src/data/tokenizer.ts';
import { checkVocabulary } from '../../src/data/vocabulary.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { npy } from './npy-bytes.ts';

const tiny = openTokenizer(fileURLToPath(new URL('fixtures/tokenizer.json', import.meta.url)), 'model.onnx');
const parse = (lines: string, tokenizer = byteTokenizer) =>
  jsonlRecords(Buffer.from(lines), 'd.jsonl', tokenizer);
const folder = () => mkdtempSync(join(tmpdir(), 'moeq-records-'));
const ids = (...values: number[]) => ({
  input_ids: { dtype: 'int32', shape: [values.length], data: Int32Array.from(values) },
});

describe('jsonlRecords', () => {
  test('reads texts, answers and inputs, mixed, with the line they stand on', () => {
    const records = parse(
      '{"text": "ab", "id": 7}\n\n{"prompt": "a=", "answer": "b", "task": "t"}\r\n{"inputs": {"x": [[1, 2.5]]}}',
    );
    expect(records).toEqual([
      { source: 'd.jsonl:1', task: null, answerStart: null, inputs: ids(97, 98) },
      { source: 'd.jsonl:3', task: 't', answerStart: 2, inputs: ids(97, 61, 98) },
      {
        source: 'd.jsonl:4',
        task: null,
        answerStart: null,
        inputs: { x: { dtype: 'float64', shape: [2], data: Float64Array.of(1, 2.5) } },
      },
    ]);
  });

  test('gives a record per row of a batch of inputs', () => {
    const records = parse(
      '{"task": "t", "inputs": {"input_ids": [[1, 2], [3, 4]], "attention_mask": [[true, true], [true, false]]}}',
    );
    expect(records.map(({ source, task }) => [source, task])).toEqual([
      ['d.jsonl:1[0]', 't'],
      ['d.jsonl:1[1]', 't'],
    ]);
    expect(records[1].inputs['input_ids'].data).toEqual(Float64Array.of(3, 4));
    expect(records[1].inputs['attention_mask']).toEqual({
      dtype: 'bool',
      shape: [2],
      data: Uint8Array.of(1, 0),
    });
  });

  test('with bytes the answer is exactly its own bytes', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (prompt, answer) => {
        const [record] = parse(JSON.stringify({ prompt, answer }));
        const tokens = record.inputs['input_ids'].data.slice(record.answerStart!);
        expect(Buffer.from(tokens as Int32Array<ArrayBuffer>).toString('utf8')).toBe(answer);
      }),
    );
  });

  test('special tokens open a prompt, close a text, and are no part of an answer', () => {
    expect(parse('{"text": "ab"}', tiny)[0].inputs).toEqual(ids(0, 8, 1));
    const [record] = parse('{"prompt": "c", "answer": "ab"}', tiny);
    expect(record).toMatchObject({ inputs: ids(0, 4, 8), answerStart: 2 });
    expect(parse('{"prompt": "", "answer": "ab"}', tiny)[0]).toMatchObject({
      inputs: ids(0, 8),
      answerStart: 1,
    });
  });

  test('a token merged across the boundary belongs to the answer', () => {
    const [record] = parse('{"prompt": "ca", "answer": "bc"}', tiny);
    expect(record).toMatchObject({ inputs: ids(0, 4, 10), answerStart: 2 });
  });

  test.each([
    ['{"text": "a"', 'DATA_JSON', 'the line is not valid JSON'],
    ['[1]', 'DATA_RECORD', 'the line is not a JSON object'],
    ['{"txt": "a"}', 'DATA_RECORD', 'it is not exactly one of the three kinds of record'],
    ['{"text": "a", "inputs": {}}', 'DATA_RECORD', 'it is not exactly one of the three kinds of record'],
    ['{"text": 5}', 'DATA_RECORD', '"text" is not a string'],
    ['{"text": ""}', 'DATA_RECORD', 'the text has no token'],
    ['{"text": "a", "task": 5}', 'DATA_RECORD', '"task" is not a string'],
    ['{"prompt": "a"}', 'DATA_RECORD', '"answer" is not a string'],
    ['{"prompt": "a", "answer": ""}', 'DATA_RECORD', 'the answer adds no token to the prompt'],
    [
      '{"prompt": "", "answer": "a"}',
      'DATA_RECORD',
      'there is no token before the answer to predict it from',
    ],
    ['{"inputs": []}', 'DATA_RECORD', '"inputs" is not an object'],
    ['{"inputs": {}}', 'DATA_RECORD', 'there is no input with a batch dimension'],
    ['{"inputs": {"x": [[1], [2, 3]]}}', 'DATA_RECORD', 'the array is ragged'],
    ['{"inputs": {"x": [[1, "2"]]}}', 'DATA_RECORD', '"2" is not a number this format can hold'],
    [
      '{"inputs": {"x": [[9007199254740993]]}}',
      'DATA_RECORD',
      '9007199254740992 is not a number this format can hold',
    ],
    ['{"inputs": {"x": [[]]}}', 'DATA_RECORD', 'input x is empty'],
    ['{"inputs": {"x": [[1]], "y": [[1], [2]]}}', 'DATA_RECORD', 'input y has batch 2, another has 1'],
  ])('refuses %s', (line, code, reason) => {
    const fault = faultOf(() => parse(`{"text": "fine"}\n${line}\n`));
    expect(fault.code).toBe(code);
    expect(fault.where).toMatch(/^d\.jsonl:2(, input x)?$/);
    expect([fault.what, fault.why]).toContain(reason);
  });
});

test('jsonlRecords refuses bytes that are no UTF-8', () => {
  const latin1 = Buffer.from('{"text": "caf\u00e9"}\n', 'latin1');
  expect(faultOf(() => jsonlRecords(latin1, 'd.jsonl', byteTokenizer))).toMatchObject({
    code: 'DATA_JSON',
    where: 'd.jsonl:1',
  });
});

describe('readRecords', () => {
  test('reads the data files of a folder in the order of their names', () => {
    const path = folder();
    mkdirSync(join(path, 'c'));
    writeFileSync(join(path, 'b.jsonl'), '{"text": "b"}\n');
    writeFileSync(join(path, 'a.npz'), zipSync({ 'input_ids.npy': npy('|u1', [2, 1], Uint8Array.of(1, 2)) }));
    writeFileSync(join(path, 'notes.txt'), 'no data');
    const sources = readRecords(path, byteTokenizer).map(({ source }) => source);
    expect(sources).toEqual([join(path, 'a.npz[0]'), join(path, 'a.npz[1]'), join(path, 'b.jsonl:1')]);
  });

  test('refuses what is missing, empty or of another kind', () => {
    const path = folder();
    writeFileSync(join(path, 'a.csv'), 'a');
    const codeOf = (name: string) => faultOf(() => readRecords(join(path, name), byteTokenizer)).code;
    expect(codeOf('none.jsonl')).toBe('DATA_NOT_FOUND');
    expect(codeOf('a.csv')).toBe('DATA_FORMAT');
    expect(codeOf('.')).toBe('DATA_EMPTY');
    writeFileSync(join(path, 'a.jsonl'), '\n\n');
    expect(codeOf('a.jsonl')).toBe('DATA_EMPTY');
  });
});

test('checkVocabulary names the record and token outside the vocabulary', () => {
  const records = parse('{"text": "ab"}\n{"text": "aé"}\n{"inputs": {"x": [[999]]}}');
  checkVocabulary(records, 256);
  expect(faultOf(() => checkVocabulary(records, 128))).toMatchObject({
    code: 'DATA_VOCABULARY',
    what: "token 195 at position 1 is outside the model's vocabulary of 128",
    where: 'd.jsonl:2',
  });
});
