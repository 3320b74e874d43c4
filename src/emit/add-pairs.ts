import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import { splitByExpert } from './split-by-expert.ts';

/**
 * The sum over each token's pairs of result [S, hidden] · weight, as [T, hidden].
 *
 * Never one ScatterND with reduction over all pairs: ONNX Runtime 1.30 runs it on several threads without a lock and
 * loses additions where a token occurs twice. Slots are written once each and summed afterwards; without slots one
 * ScatterND per expert is used, in which every token occurs once.
 */
export function addPairs(
  b: Builder,
  tokens: Value,
  results: Value,
  dispatch: Dispatch,
  experts: number,
): Value {
  const weighted = dispatch.inputWeights
    ? results
    : b.op('Mul', [results, dispatch.weights], {}, { name: 'weighted' });
  return dispatch.slots
    ? sumSlots(b, tokens, weighted, dispatch.slots)
    : sumExperts(b, tokens, weighted, dispatch, experts);
}

function sumSlots(
  b: Builder,
  tokens: Value,
  weighted: Value,
  { positions, perToken }: NonNullable<Dispatch['slots']>,
): Value {
  const shape = b.op('Shape', [tokens]);
  const zeros = b.op('ConstantOfShape', [b.op('Mul', [shape, b.ints([perToken, 1])])]);
  const at = b.op('Unsqueeze', [positions, b.ints([1])]);
  const slots = b.op('ScatterND', [zeros, at, weighted], {}, { name: 'slots' });
  const hidden = b.op('Shape', [tokens], { start: 1 });
  const byToken = b.op('Reshape', [slots, b.op('Concat', [b.ints([-1, perToken]), hidden], { axis: 0 })]);
  return b.op('ReduceSum', [byToken, b.ints([1])], { keepdims: 0 }, { name: 'sum' });
}

function sumExperts(b: Builder, tokens: Value, weighted: Value, dispatch: Dispatch, experts: number): Value {
  const parts = splitByExpert(b, weighted, dispatch.counts, experts);
  const rows = splitByExpert(b, b.op('Unsqueeze', [dispatch.tokens, b.ints([1])]), dispatch.counts, experts);
  const zeros = b.op('ConstantOfShape', [b.op('Shape', [tokens])], {}, { name: 'zeros' });
  return parts.reduce(
    (sum, part, i) => b.op('ScatterND', [sum, rows[i], part], { reduction: 'add' }, { name: 'sum' }),
    zeros,
  );
}
