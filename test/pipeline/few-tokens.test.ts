import { rmSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readModelRecord } from '../../src/moe/model-record.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { configFrom, dataFree } from '../helpers/bundled.ts';
import { makeModel } from '../helpers/make-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-few-'));
const path = join(folder, 'layer.onnx');
/** Wide enough for linears of more than half a million weights. */
const [hidden, inter, experts] = [1024, 576, 2];

beforeAll(() => {
  const model = makeModel({ x: ['float32', ['tokens', hidden]] }, (b, x) => {
    const weight = (name: string, shape: number[]) =>
      b.constant(name, 'float32', shape, new Float32Array(shape.reduce((a, c) => a * c, 1)).fill(0.5));
    const logits = b.op('MatMul', [x, weight('router', [hidden, experts])]);
    const fc1 = weight('fc1', [experts, 2 * inter, hidden]);
    const attributes = { k: 1, activation_type: 'swiglu', swiglu_fusion: 2 };
    const inputs = [x, logits, fc1, null, weight('fc2', [experts, hidden, inter])];
    return { y: b.op('MoE', inputs, attributes, { domain: 'com.microsoft' }) };
  });
  model.opsets.set('com.microsoft', 1);
  writeModel(model, path);
});
afterAll(() => rmSync(folder, { recursive: true }));

test.each([
  ['auto', true],
  ['true', true],
  ['false', false],
])('output.fewTokens=%s writes a way for few tokens: %s', async (fewTokens, expected) => {
  const config = configFrom(...dataFree, 'target=int', `output.fewTokens=${fewTokens}`);
  const { model } = await quantizeModel(path, null, config);
  expect(model.graph.nodes.some(({ opType }) => opType === 'If')).toBe(expected);
  expect(readModelRecord(model)!.execution.weights.includes('few tokens')).toBe(expected);
});
