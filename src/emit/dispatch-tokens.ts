import type { Expert } from '../moe/moe-layer.ts';
import type { ExplicitRouting } from '../moe/spell-out-routing.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/**
 * The S pairs of a token and an expert that works on it, sorted by expert and then by token. What is computed "per
 * pair" has S rows in this order, so that the rows of one expert lie together.
 */
export interface Dispatch {
  /** Row number of each pair's token, [S]. */
  tokens: Value;
  /** Position of each pair's expert in the list of experts, [S]. */
  experts: Value;
  /** Where each pair's result goes, [S], if every token has so many places, [1], for its own. */
  slots: { positions: Value; perToken: Value };
  /** Pairs per expert, [experts]; zero for an expert without tokens. */
  counts: Value;
  /** Whether there are pairs at all. */
  isAny: Value;
  /** Whether there are few pairs per expert, so few that reading its weights takes longer than multiplying by them. */
  areFew: Value;
  /** Routing weight of each pair, [S, 1]. */
  weights: Value;
  /** The same where routing weights multiply the input of the experts (Llama-4); null elsewhere. */
  inputWeights: Value | null;
}

/** Pairs per expert up to which they are few: measured, see "What was tried" in the benchmarks. */
const few = 3;

/** Turns the routing of a layer into pairs for `experts`; tokens of experts that are not listed make no pair. */
export function dispatchTokens(
  b: Builder,
  routing: ExplicitRouting,
  experts: readonly Pick<Expert, 'index'>[],
  routerWidth: number,
): Dispatch {
  const ids = experts.map(({ index }) => index);
  const { pairs, chosen, ...rest } =
    routing.kind === 'topk' ? topKPairs(b, routing, ids) : densePairs(b, routing, ids, routerWidth);
  const ones = b.cast(chosen, 'float32');
  const counts = b.op('ReduceSum', [ones, b.ints([1])], { keepdims: 0 });
  const weights = b.op('Unsqueeze', [rest.weights, b.ints([1])], {}, { name: 'pair_weights' });
  const size = b.op('Size', [rest.tokens]);
  return {
    tokens: rest.tokens,
    slots: rest.slots,
    experts: rowOf(b, pairs, 0, 'pair_experts'),
    counts: b.cast(counts, 'int64', 'counts'),
    isAny: b.op('Greater', [size, b.ints(0)], {}, { name: 'is_any' }),
    areFew: b.op('LessOrEqual', [size, b.ints(few * ids.length)], {}, { name: 'are_few' }),
    weights,
    inputWeights: routing.appliesTo === 'input' ? weights : null,
  };
}

interface Pairs {
  /** [experts, …] bool. */
  chosen: Value;
  /** Where `chosen` is true, [2, S]. */
  pairs: Value;
  slots: Dispatch['slots'];
  /** [S] each. */
  tokens: Value;
  weights: Value;
}

function topKPairs(
  b: Builder,
  routing: Extract<ExplicitRouting, { kind: 'topk' }>,
  ids: readonly number[],
): Pairs {
  const flat = b.op('Reshape', [routing.indices, b.ints([1, -1])]);
  const indices = b.cast(flat, 'int64', 'indices');
  const chosen = b.op('Equal', [indices, b.constant('ids', 'int64', [ids.length, 1], ids)]);
  const pairs = b.op('NonZero', [chosen], {}, { name: 'pairs' });
  const slots = rowOf(b, pairs, 1, 'slots');
  const perToken = b.ints([routing.k], 'k');
  const flatWeights = b.op('Reshape', [routing.weights, b.ints([-1])], {}, { name: 'weights' });
  const weights = b.cast(flatWeights, 'float32', 'float');
  return {
    chosen,
    pairs,
    slots: { positions: slots, perToken },
    tokens: b.op('Div', [slots, perToken], {}, { name: 'pair_tokens' }),
    weights: b.op('Gather', [weights, slots]),
  };
}

function densePairs(
  b: Builder,
  routing: Extract<ExplicitRouting, { kind: 'dense' | 'combine' }>,
  ids: readonly number[],
  routerWidth: number,
): Pairs {
  const all = b.cast(denseWeights(b, routing, routerWidth), 'float32', 'float');
  const isAll = ids.length === routerWidth && ids.every((id, position) => id === position);
  const weights = isAll ? all : b.op('Gather', [all, b.constant('ids', 'int64', [ids.length], ids)]);
  const chosen = b.cast(weights, 'bool');
  const pairs = b.op('NonZero', [chosen], {}, { name: 'pairs' });
  const at = b.op('Transpose', [pairs], { perm: [1, 0] });
  const tokens = rowOf(b, pairs, 1, 'pair_tokens');
  return {
    chosen,
    pairs,
    slots: slotsOf(b, chosen, at, tokens),
    tokens,
    weights: b.op('GatherND', [weights, at]),
  };
}

/** A token's experts, in their order, take its places: as many as the token with the most experts needs, one at least. */
function slotsOf(b: Builder, chosen: Value, at: Value, tokens: Value): Dispatch['slots'] {
  const ones = b.cast(chosen, 'int64');
  const before = b.op('CumSum', [ones, b.ints(0)], { exclusive: 1 });
  const most = b.op('ReduceMax', [b.op('ReduceSum', [ones, b.ints([0])], { keepdims: 0 }), b.ints([0])]);
  const perToken = b.op('Max', [most, b.ints([1])], {}, { name: 'per_token' });
  const first = b.op('Mul', [tokens, perToken]);
  const positions = b.op('Add', [first, b.op('GatherND', [before, at])], {}, { name: 'slots' });
  return { positions, perToken };
}

/** Routing weights as [E, T]. */
export function denseWeights(
  b: Builder,
  routing: Extract<ExplicitRouting, { kind: 'dense' | 'combine' }>,
  experts: number,
): Value {
  if (routing.kind === 'dense' && routing.expertAxis === 'first')
    return b.op('Reshape', [routing.weights, b.ints([experts, -1])]);
  const weights =
    routing.kind === 'combine'
      ? b.op('ReduceSum', [routing.weights, b.ints([-1])], { keepdims: 0 })
      : routing.weights;
  const byToken = b.op('Reshape', [weights, b.ints([-1, experts])]);
  return b.op('Transpose', [byToken], { perm: [1, 0] });
}

function rowOf(b: Builder, matrix: Value, row: number, name: string): Value {
  return b.op('Gather', [matrix, b.ints(row, 'row')], {}, { name });
}

/** The rows of each expert, cut from a value with one row per pair. */
export function splitByExpert(b: Builder, perPair: Value, counts: Value, experts: number): Value[] {
  return b.ops(experts, 'Split', [perPair, counts], { axis: 0 }, { name: 'by_expert' });
}
