import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { Dispatch } from './dispatch-tokens.ts';

/**
 * The sum over each token's pairs of result [S, hidden] · weight, as [T, hidden].
 *
 * Never one ScatterND with reduction over all pairs: ONNX Runtime 1.30 runs it on several threads without a lock and
 * loses additions where a token occurs twice. Slots are written once each and summed afterwards.
 */
export function addPairs(b: Builder, tokens: Value, results: Value, dispatch: Dispatch): Value {
  const weighted = dispatch.inputWeights
    ? results
    : b.op('Mul', [results, dispatch.weights], {}, { name: 'weighted' });
  const { positions, perToken } = dispatch.slots;
  const size = b.op('Mul', [b.op('Shape', [tokens]), b.op('Concat', [perToken, b.ints([1])], { axis: 0 })]);
  const at = b.op('Unsqueeze', [positions, b.ints([1])]);
  const slots = b.op('ScatterND', [b.op('ConstantOfShape', [size]), at, weighted], {}, { name: 'slots' });
  const hidden = b.op('Shape', [tokens], { start: 1 });
  const byToken = b.op('Concat', [b.ints([-1]), perToken, hidden], { axis: 0 });
  return b.op(
    'ReduceSum',
    [b.op('Reshape', [slots, byToken]), b.ints([1])],
    { keepdims: 0 },
    { name: 'sum' },
  );
}
