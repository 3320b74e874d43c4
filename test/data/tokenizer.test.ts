import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Tokenizer as Reference } from '@huggingface/tokenizers';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { byteTokenizer, openTokenizer } from '../../src/data/tokenizer.ts';
import { faultOf } from '../helpers/fault-of.ts';

const tiny = fileURLToPath(new URL('fixtures/tokenizer.json', import.meta.url));
const folder = () => mkdtempSync(join(tmpdir(), 'moeq-tokenizer-'));

describe('byteTokenizer', () => {
  test('gives the bytes of the UTF-8 text and nothing else', () => {
    expect(byteTokenizer.encode('a\né')).toEqual({ ids: [97, 10, 0xc3, 0xa9], start: 0, end: 4 });
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const { ids } = byteTokenizer.encode(text);
        expect(Buffer.from(ids).toString('utf8')).toBe(text);
      }),
    );
  });
});

describe('openTokenizer', () => {
  test('merges byte pairs and tells special tokens from text', () => {
    const tokenizer = openTokenizer(tiny, 'model.onnx');
    expect(tokenizer.name).toBe(tiny);
    expect(tokenizer.encode('ab abc')).toEqual({ ids: [0, 8, 9, 4, 1], start: 1, end: 4 });
    expect(tokenizer.encode('caé')).toEqual({ ids: [0, 4, 2, 6, 7, 1], start: 1, end: 5 });
    expect(tokenizer.encode('')).toEqual({ ids: [0, 1], start: 0, end: 0 });
  });

  test('leaves out what a byte-pair vocabulary lacks, as Hugging Face does', () => {
    expect(openTokenizer(tiny, 'model.onnx').encode('abz').ids).toEqual([0, 8, 1]);
  });

  test('refuses text that needs a token outside the vocabulary', () => {
    const path = join(folder(), 'tokenizer.json');
    const description = readFileSync(tiny, 'utf8').replace('"unk_token": null', '"unk_token": "<unk>"');
    writeFileSync(path, description);
    const fault = faultOf(() => openTokenizer(path, 'model.onnx').encode('abz'));
    expect(fault).toMatchObject({ code: 'DATA_TOKENIZER', what: 'the vocabulary has no token for "<unk>"' });
  });

  test('takes the tokenizer.json beside the model by default, else bytes', () => {
    const beside = folder();
    expect(openTokenizer(null, join(beside, 'model.onnx'))).toBe(byteTokenizer);
    cpSync(tiny, join(beside, 'tokenizer.json'));
    expect(openTokenizer(null, join(beside, 'model.onnx')).name).toBe(join(beside, 'tokenizer.json'));
    expect(openTokenizer('bytes', join(beside, 'model.onnx'))).toBe(byteTokenizer);
  });

  test.each([
    ['no JSON', '{'],
    ['no object', 'null'],
    ['no tokenizer', '{"model": {}}'],
  ])('refuses a file that is %s', (_, content) => {
    const path = join(folder(), 'tokenizer.json');
    writeFileSync(path, content);
    expect(faultOf(() => openTokenizer(path, 'model.onnx'))).toMatchObject({
      code: 'DATA_TOKENIZER',
      where: path,
    });
  });

  test('refuses a file that is not there', () => {
    const fault = faultOf(() => openTokenizer('nowhere/tokenizer.json', 'model.onnx'));
    expect(fault).toMatchObject({ code: 'DATA_TOKENIZER', where: 'nowhere/tokenizer.json' });
    expect(fault.why).toContain('ENOENT');
  });
});

const zoo = process.env['MOEQ_ZOO'];
test.skipIf(!zoo)('a trained byte-level BPE tokenizer gives its text back (needs MOEQ_ZOO)', () => {
  const path = join(zoo!, 'models/text-qwen2moe/tokenizer.json');
  const text = 'The first expert said: "No, the é of café!" \n 3.14';
  const { ids, start, end } = openTokenizer(null, join(zoo!, 'models/text-qwen2moe/batched.dyn.onnx')).encode(
    text,
  );
  const reference = new Reference(JSON.parse(readFileSync(path, 'utf8')), {});
  expect(reference.decode(ids)).toBe(text);
  expect([start, end]).toEqual([0, ids.length]);
  expect(ids.length).toBeLessThan(text.length);
});
