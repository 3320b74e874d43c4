import { Fault } from '../fault.ts';
import type { Boundary, MoeLayer } from '../moe/moe-layer.ts';
import type { ExplicitRouting } from '../moe/spell-out-routing.ts';
import { explicitRouting } from '../moe/spell-out-routing.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import { dispatchTokens } from './dispatch-tokens.ts';
import type { ExpertEmitter } from './expert-emitter.ts';
import type { EmittedExpert } from './expose-experts.ts';
import { nameResults } from './expose-experts.ts';
import { splitByExpert } from './split-by-expert.ts';

/**
 * Writes a located layer anew in canonical form: routing as it was; pairs of token and expert sorted by expert,
 * computed by `emitter`, weighed, and added up per token. The old nodes are left without readers; `removeDeadCode`
 * takes them away, and also the values of single experts where nobody reads them.
 * Between the layers of a model and between source forms only weights and names differ.
 * @throws Fault MOE_NOT_QUANTIZABLE when the layer has no boundary
 */
export function emitLayer(model: Model, layer: MoeLayer, emitter: ExpertEmitter): EmittedExpert[] {
  const { input, output } = boundaryOf(layer);
  const routing = explicitRouting(layer);
  const b = builder(model.graph, `moeq/${layer.id}`);
  const tokens = tokenRows(b, input, layer.hidden);
  const experts = layer.experts.filter(({ kind }) => kind === 'ffn');
  const dispatch = dispatchTokens(b, routing, experts, layer.router.experts);
  const results = emitter(b, tokens, dispatch);
  const ids = experts.map(({ id }) => id);
  const outputs = nameResults(model, layer.id, results, dispatch.counts, ids);
  const rows = splitByExpert(b, dispatch.tokens, dispatch.counts, ids.length);
  const zeros = b.op('ConstantOfShape', [b.op('Shape', [tokens])], {}, { name: 'zeros' });
  const sum = addPairs(b, zeros, results, dispatch);
  const whole = addCopies(builder(model.graph, `moeq/${layer.id}/copies`), sum, tokens, layer, routing);
  replaceOutput(b, { input, output }, whole);
  return ids.map((id, i) => ({ id, rows: rows[i], output: outputs[i] }));
}

/** Any leading dimensions flattened, in float32: [T, hidden]. */
function tokenRows(b: Builder, input: Value, hidden: number): Value {
  const rows = b.op('Reshape', [input, b.ints([-1, hidden])]);
  return b.op('Cast', [rows], { to: 1 }, { name: 'tokens' });
}

/** sum[token] += result · weight for every pair. */
function addPairs(b: Builder, sum: Value, results: Value, dispatch: Dispatch): Value {
  const weighted = dispatch.inputWeights
    ? results
    : b.op('Mul', [results, dispatch.weights], {}, { name: 'weighted' });
  const at = b.op('Unsqueeze', [dispatch.tokens, b.ints([1])], {}, { name: 'at' });
  return b.op('ScatterND', [sum, at, weighted], { reduction: 'add' }, { name: 'sum' });
}

/** Of experts without weights, `zero` adds nothing and `copy` adds its input. */
function addCopies(
  b: Builder,
  sum: Value,
  tokens: Value,
  { experts, router }: MoeLayer,
  routing: ExplicitRouting,
): Value {
  const copies = experts.filter(({ kind }) => kind === 'copy');
  if (copies.length === 0) return sum;
  const dispatch = dispatchTokens(b, { ...routing, appliesTo: 'output' }, copies, router.experts);
  return addPairs(b, sum, b.op('Gather', [tokens, dispatch.tokens]), dispatch);
}

/** Gives the readers of the old output the new sum, in the old element type and shape. */
function replaceOutput(b: Builder, { input, output }: Pick<Boundary, 'input' | 'output'>, sum: Value): void {
  const dtype = output.dtype ?? input.dtype ?? 'float32';
  const typed = dtype === 'float32' ? sum : b.op('Cast', [sum], { to: codeOf(dtype) });
  const isFlat = output.shape?.length === 2;
  const shaped = isFlat ? typed : b.op('Reshape', [typed, b.op('Shape', [input])], {}, { name: 'output' });
  b.graph.replaceAllUses(output, shaped);
}

function boundaryOf({ id, boundary, reason }: MoeLayer): Boundary {
  if (boundary) return boundary;
  throw new Fault({
    code: 'MOE_NOT_QUANTIZABLE',
    what: `layer ${id} cannot be rewritten`,
    why: reason,
    remedy: 'run "moeq inspect --explain"; leave this layer out, or export the model in another form',
  });
}
