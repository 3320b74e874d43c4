import { Fault } from '../fault.ts';
import { ffnExperts } from '../moe/ffn-experts.ts';
import type { Boundary, MoeLayer } from '../moe/moe-layer.ts';
import type { ExplicitRouting } from '../moe/spell-out-routing.ts';
import { explicitRouting } from '../moe/spell-out-routing.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import { allNodes } from '../onnx/graph.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { DataType } from '../tensor/dtype.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import { dispatchTokens } from './dispatch-tokens.ts';
import type { ExpertEmitter, PairEmitter } from './expert-emitter.ts';
import { tokenRows } from './token-rows.ts';

/** The pairs of a written layer, and what their experts make of them. */
export interface EmittedPairs {
  dispatch: Dispatch;
  /** [S, hidden], before a routing weight on the output. */
  results: Value;
}

/**
 * Writes a located layer anew in canonical form: routing as it was; pairs of token and expert sorted by expert,
 * computed by `emitter`, weighed, and added up per token; or one fused operator. The old nodes are left without
 * readers; `removeDeadCode` takes them away.
 * Between the layers of a model and between source forms only weights and names differ.
 * @returns what happens in between; null for a fused operator
 * @throws Fault MOE_NOT_QUANTIZABLE when the layer has no boundary
 */
export function emitLayer(model: Model, layer: MoeLayer, emitter: ExpertEmitter): EmittedPairs | null {
  const boundary = boundaryOf(layer);
  const routing = explicitRouting(layer);
  const b = builder(model.graph, `moeq/${layer.id}`);
  const tokens = tokenRows(b, boundary.input, layer.hidden, 'tokens');
  if (emitter.kind === 'fused') {
    connect(b, model, boundary, emitter.emit(b, tokens, routing));
    return null;
  }
  const { sum, ...pairs } = emitPairs(b, layer, emitter, tokens, routing);
  connect(b, model, boundary, sum);
  return pairs;
}

function emitPairs(
  b: Builder,
  layer: MoeLayer,
  emitter: PairEmitter,
  tokens: Value,
  routing: ExplicitRouting,
): EmittedPairs & { sum: Value } {
  const experts = ffnExperts(layer);
  const dispatch = dispatchTokens(b, routing, experts, layer.router.experts);
  const results = emitter.emit(b, tokens, dispatch);
  return { dispatch, results, sum: addPairs(b, tokens, results, layer.hidden, dispatch) };
}

/** Makes the old output of the new sum, in its element type and shape: the next layer may read it as it stands. */
function connect(b: Builder, model: Model, { input, output, isFlat }: Boundary, sum: Value): void {
  const typed = inType(b, sum, output.dtype ?? input.dtype, input);
  const shaped =
    (isFlat ?? output.shape?.length === 2)
      ? typed
      : b.op('Reshape', [typed, b.op('Shape', [input])], {}, { name: 'output' });
  b.graph.redefine(output, shaped);
  importDomains(model);
}

/** float32 results in the type of the layer, which is that of its input where the file does not tell. */
function inType(b: Builder, sum: Value, dtype: DataType | undefined, input: Value): Value {
  if (dtype === 'float32') return sum;
  return dtype ? b.cast(sum, dtype) : b.op('CastLike', [sum, input]);
}

/** Operator sets of other domains, whose version is always 1. */
function importDomains({ graph, opsets }: Model): void {
  for (const { domain } of allNodes(graph)) if (!opsets.has(domain)) opsets.set(domain, 1);
}

function boundaryOf({ id, boundary, reason }: MoeLayer): Boundary {
  if (boundary) return boundary;
  throw new Fault({
    code: 'MOE_NOT_QUANTIZABLE',
    what: `layer ${id} cannot be rewritten`,
    where: `layer ${id}`,
    why: reason,
    remedy: 'run "moeq inspect --explain"; export the model in another form',
  });
}

/**
 * The sum over each token's pairs of result [S, hidden] · weight, as [T, hidden].
 *
 * Never one ScatterND with reduction over all pairs: ONNX Runtime 1.30 runs it on several threads without a lock and
 * loses additions where a token occurs twice. Slots are written once each and summed afterwards.
 */
function addPairs(b: Builder, tokens: Value, results: Value, hidden: number, dispatch: Dispatch): Value {
  const weighted = dispatch.inputWeights
    ? results
    : b.op('Mul', [results, dispatch.weights], {}, { name: 'weighted' });
  const { positions, perToken } = dispatch.slots;
  const size = b.op('Mul', [b.op('Shape', [tokens]), b.op('Concat', [perToken, b.ints([1])], { axis: 0 })]);
  const at = b.op('Unsqueeze', [positions, b.ints([1])]);
  const slots = b.op('ScatterND', [b.op('ConstantOfShape', [size]), at, weighted], {}, { name: 'slots' });
  const byToken = b.op('Concat', [b.ints([-1]), perToken, b.ints([hidden])], { axis: 0 });
  return b.op(
    'ReduceSum',
    [b.op('Reshape', [slots, byToken]), b.ints([1])],
    { keepdims: 0 },
    { name: 'sum' },
  );
}
