import { expect, test } from 'vitest';
import { Value } from '../../src/onnx/value.ts';
import { mixingProblem } from '../../src/verify/join-hybrids.ts';
import type { RawRouter } from '../../src/verify/raw-router.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';

const { layer } = syntheticLayer();
const values = { logits: new Value('logits'), weights: new Value('weights'), indices: null };
const topk: RawRouter = { ...values, form: 'topk', k: 2 };

test('models whose routing has the same shape can be mixed', () => {
  expect(mixingProblem([{ layer, reference: topk, quantized: { ...topk } }])).toBe('');
});

test.each([
  [{ ...topk, k: 4 }, 'the routing of layer L0 is topk of 2 in one model and topk of 4 in the other'],
  [
    { ...topk, form: 'dense-last', k: null },
    'the routing of layer L0 is topk of 2 in one model and dense-last in the other',
  ],
] satisfies [RawRouter, string][])('others cannot, and the reason is told', (quantized, reason) => {
  expect(mixingProblem([{ layer, reference: topk, quantized }])).toBe(reason);
});
