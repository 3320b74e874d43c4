import { denseWeights } from '../emit/dispatch-tokens.ts';
import type { RoutingForm } from '../moe/spell-out-routing.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { Results } from '../runtime/session.ts';
import { toFloats } from '../runtime/session.ts';
import type { RawRouter } from './raw-router.ts';

/** What one router decides, ready to be read: token-major, float32 and int32. */
export interface RouterValues {
  /** T·experts numbers. */
  logits: Value;
  /** T·k numbers; null where the weights stand for all experts. */
  indices: Value | null;
  /** T·k numbers, or T·experts without indices. */
  weights: Value;
}

/** Brings the routing of a layer, whatever its form, into one. */
export function routerValues(
  b: Builder,
  { logits, indices, weights, form }: RawRouter,
  experts: number,
): RouterValues {
  return {
    logits: b.cast(logits, 'float32'),
    indices: indices && b.cast(indices, 'int32'),
    weights: b.cast(tokenMajor(b, weights, form, experts), 'float32'),
  };
}

function tokenMajor(b: Builder, weights: Value, form: RoutingForm, experts: number): Value {
  if (form === 'topk' || form === 'dense-last') return weights;
  const routing =
    form === 'combine'
      ? ({ kind: 'combine', weights, appliesTo: 'output' } as const)
      : ({ kind: 'dense', weights, expertAxis: 'first', appliesTo: 'output' } as const);
  return b.op('Transpose', [denseWeights(b, routing, experts)], { perm: [1, 0] });
}

/** What a run gave of these values. */
export function readRouting(values: RouterValues, experts: number, results: Results): TokenRouting {
  const logits = toFloats(results[values.logits.name]);
  const tokens = logits.length / experts;
  const weights = toFloats(results[values.weights.name]);
  const indices = values.indices && (results[values.indices.name].data as Int32Array);
  return { tokens, experts, k: weights.length / tokens, logits, indices, weights };
}

/** The experts that one router chose for a run of tokens. Everything is token-major. */
export interface TokenChoices {
  tokens: number;
  experts: number;
  /** Weights per token; equal to `experts` where every expert has one. */
  k: number;
  /** Selected experts, [tokens, k]; null where every expert has a weight. */
  indices: Int32Array | null;
  /** [tokens, k]; without indices 0 means that an expert takes no part. */
  weights: Float32Array;
}

/** What they were chosen by, too. */
export interface TokenRouting extends TokenChoices {
  /** [tokens, experts] */
  logits: Float32Array;
}
