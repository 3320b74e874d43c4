import type { Expert } from '../moe/moe-layer.ts';
import type { ExplicitRouting } from '../moe/spell-out-routing.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/** Which tokens an expert receives: their row numbers [n], and their routing weights [n, 1]. */
export interface RoutedTokens {
  rows: Value;
  weights: Value;
}

/**
 * Prepares the routing of a layer and returns a function that emits, for one expert, its tokens and weights.
 * An expert without tokens gets n = 0 rows.
 */
export function routeTokens(
  b: Builder,
  routing: ExplicitRouting,
  experts: number,
): (inner: Builder, expert: Expert) => RoutedTokens {
  if (routing.kind === 'topk') return routeTopK(b, routing);
  return routeDense(b, routing, experts);
}

function routeTopK(b: Builder, routing: Extract<ExplicitRouting, { kind: 'topk' }>): ReturnType<typeof routeTokens> {
  const indices = b.op(
    'Cast',
    [b.op('Reshape', [routing.indices, b.ints([-1])])],
    { to: 7 },
    { name: 'indices' },
  );
  const weights = asFloat(b, b.op('Reshape', [routing.weights, b.ints([-1])], {}, { name: 'weights' }));
  const k = b.ints(routing.k, 'k');
  return (inner, expert) => {
    const chosen = inner.op('Equal', [indices, inner.ints(expert.index, 'id')], {}, { name: 'chosen' });
    const slots = positionsOf(inner, chosen);
    return {
      rows: inner.op('Div', [slots, k], {}, { name: 'tokens' }),
      weights: column(inner, inner.op('Gather', [weights, slots])),
    };
  };
}

function routeDense(
  b: Builder,
  routing: Extract<ExplicitRouting, { kind: 'dense' | 'combine' }>,
  experts: number,
): ReturnType<typeof routeTokens> {
  const dense = asFloat(b, denseWeights(b, routing, experts));
  return (inner, expert) => {
    const all = inner.op('Gather', [dense, inner.ints(expert.index, 'id')], { axis: 1 });
    const chosen = inner.op('Cast', [all], { to: 9 }, { name: 'chosen' });
    const rows = positionsOf(inner, chosen);
    return { rows, weights: column(inner, inner.op('Gather', [all, rows])) };
  };
}

/** Routing weights as [T, E]. */
function denseWeights(
  b: Builder,
  routing: Extract<ExplicitRouting, { kind: 'dense' | 'combine' }>,
  experts: number,
): Value {
  if (routing.kind === 'combine') return b.op('ReduceSum', [routing.weights, b.ints([-1])], { keepdims: 0 });
  if (routing.expertAxis === 'last') return b.op('Reshape', [routing.weights, b.ints([-1, experts])]);
  return b.op('Transpose', [b.op('Reshape', [routing.weights, b.ints([experts, -1])])], { perm: [1, 0] });
}

/** Indices [n] of the true elements of a vector. */
function positionsOf(b: Builder, chosen: Value): Value {
  return b.op('Reshape', [b.op('NonZero', [chosen]), b.ints([-1])], {}, { name: 'slots' });
}

function column(b: Builder, vector: Value): Value {
  return b.op('Unsqueeze', [vector, b.ints([1])], {}, { name: 'weight' });
}

function asFloat(b: Builder, value: Value): Value {
  return b.op('Cast', [value], { to: 1 }, { name: 'float' });
}
