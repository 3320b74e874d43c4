import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { exercise, mutant, randomOf } from '../helpers/fuzz.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-fuzz-'));
writeFileSync(join(folder, 'weights.bin'), new Uint8Array(64));
afterAll(() => rmSync(folder, { recursive: true }));

test('a damaged file is opened or refused with a code, never with another error', () => {
  const random = randomOf(20);
  const outcomes = new Set<string | null>();
  for (let count = 0; count < 2000; count++) {
    const bytes = mutant(random);
    try {
      outcomes.add(exercise(bytes, join(folder, 'fuzz.onnx')));
    } catch (error) {
      throw new Error(`mutant ${count}: ${Buffer.from(bytes).toString('base64')}`, { cause: error });
    }
  }
  const refusals = [
    'ONNX_MALFORMED',
    'ONNX_TRUNCATED',
    'ONNX_INVALID',
    'TENSOR_SIZE',
    'TENSOR_DTYPE',
    'EXTERNAL_DATA',
  ];
  expect([...outcomes]).toEqual(expect.arrayContaining([null, ...refusals]));
});
