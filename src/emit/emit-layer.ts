import { Fault } from '../fault.ts';
import type { Boundary, Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import { expertOutput } from '../moe/model-record.ts';
import { explicitRouting } from '../moe/spell-out-routing.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { ExpertEmitter, RoutedInput } from './expert-emitter.ts';
import { routeTokens } from './route-tokens.ts';

/** Where an expert's work can be seen in the new graph. */
export interface EmittedExpert {
  id: string;
  /** Rows of the tokens it receives, [n]. */
  rows: Value;
  /** Its result [n, hidden], before a routing weight on the output. */
  output: Value;
}

/**
 * Writes a located layer anew in canonical form: routing as it was; per expert gather its tokens, compute,
 * weigh, scatter-add. The old nodes are left without readers; `removeDeadCode` takes them away.
 * Between the layers of a model and between source forms only weights and names differ.
 * @throws Fault MOE_NOT_QUANTIZABLE when the layer has no boundary
 */
export function emitLayer(model: Model, layer: MoeLayer, emitter: ExpertEmitter): EmittedExpert[] {
  const boundary = boundaryOf(layer);
  const b = builder(model.graph, `moeq/${layer.id}`);
  const tokens = tokenRows(b, boundary.input, layer.hidden);
  const prepared = emitter.prepare(b, tokens);
  const route = routeTokens(b, explicitRouting(layer), layer.router.experts);
  const emitted: EmittedExpert[] = [];
  let sum = zerosLike(b, tokens);
  for (const expert of layer.experts) {
    // Experts without weights: `zero` adds nothing, `copy` adds its input.
    if (expert.kind === 'zero') continue;
    const inner = builder(model.graph, `moeq/${expert.id}`);
    const { rows, weights } = route(inner, expert);
    const inputWeight = boundary.routing.appliesTo === 'input' ? weights : null;
    const output = emitExpert(inner, expert, emitter, expert.kind === 'copy' ? [tokens] : prepared, {
      rows,
      inputWeight,
    });
    if (expert.kind === 'ffn') emitted.push({ id: expert.id, rows, output });
    const weighted = inputWeight ? output : inner.op('Mul', [output, weights], {}, { name: 'weighted' });
    const at = inner.op('Unsqueeze', [rows, inner.ints([1])], {}, { name: 'at' });
    sum = inner.op('ScatterND', [sum, at, weighted], { reduction: 'add' }, { name: 'sum' });
  }
  replaceOutput(b, boundary, sum);
  return emitted;
}

/** Any leading dimensions flattened, in float32: [T, hidden]. */
function tokenRows(b: Builder, input: Value, hidden: number): Value {
  const rows = b.op('Reshape', [input, b.ints([-1, hidden])], {}, { name: 'tokens' });
  return input.dtype === 'float16' || input.dtype === 'bfloat16' ? b.op('Cast', [rows], { to: 1 }) : rows;
}

function zerosLike(b: Builder, tokens: Value): Value {
  return b.op('ConstantOfShape', [b.op('Shape', [tokens])], {}, { name: 'zeros' });
}

/** The output [n, hidden] of one expert for its tokens. */
function emitExpert(
  b: Builder,
  expert: Expert,
  emitter: ExpertEmitter,
  prepared: readonly Value[],
  routed: RoutedInput,
): Value {
  const gathered = prepared.map((value) => b.op('Gather', [value, routed.rows], {}, { name: 'rows' }));
  if (expert.kind === 'copy') {
    return routed.inputWeight ? b.op('Mul', [gathered[0], routed.inputWeight]) : gathered[0];
  }
  const output = emitter.expert(b, expert, gathered, routed);
  output.name = b.graph.uniqueName(expertOutput(expert.id));
  return output;
}

/** Gives the readers of the old output the new sum, in the old element type and shape. */
function replaceOutput(b: Builder, { input, output }: Boundary, sum: Value): void {
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
