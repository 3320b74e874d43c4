import type { EmittedExpert } from '../emit/expose-experts.ts';
import { exposeExperts } from '../emit/expose-experts.ts';
import { emitLayer } from '../emit/emit-layer.ts';
import { floatExperts } from '../emit/float-experts.ts';
import { Fault } from '../fault.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { LayerRecord, ModelRecord } from '../moe/model-record.ts';
import { entryOf, expertOutput } from '../moe/model-record.ts';
import { explicitRouting } from '../moe/spell-out-routing.ts';
import { builder } from '../onnx/build.ts';
import { graft } from '../onnx/graft.ts';
import type { Graph } from '../onnx/graph.ts';
import type { Model } from '../onnx/model.ts';
import { Value } from '../onnx/value.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { OutputComparison } from './compare-outputs.ts';
import { compareOutputs } from './compare-outputs.ts';
import { expertErrors } from './expert-errors.ts';
import type { ExpertErrors } from './expert-errors.ts';

/** Values of one router in the joined graph. */
export interface RouterValues {
  logits: Value;
  indices: Value | null;
  weights: Value;
}

/** What is compared of one layer. */
export interface LayerComparison {
  reference: RouterValues;
  /** The quantized router, fed the reference's hidden states. */
  local: RouterValues;
  /** The quantized router, fed the quantized model's own. */
  cumulative: RouterValues;
  /** The quantized experts on the reference's hidden states and routing. */
  experts: ExpertErrors;
}

/** Two models in one graph. */
export interface JoinedModels {
  model: Model;
  layers: LayerComparison[];
  output: OutputComparison;
  /** Added graph inputs: the next token of each position (int64), and which positions are no padding (bool). */
  targets: Value | null;
  valid: Value | null;
}

interface Quantized {
  model: Model;
  record: ModelRecord;
}

/**
 * Joins reference and quantized model in one graph that runs both on the same inputs and reduces what they compute
 * to a few numbers per token: no hidden state and no distribution has to leave ONNX Runtime. `reference` becomes
 * that graph.
 * @throws Fault VERIFY_MISMATCH when the two models do not belong together
 */
export function joinModels(
  reference: { model: Model; layers: readonly MoeLayer[] },
  quantized: Quantized,
  options: { language: boolean; padded: boolean },
): JoinedModels {
  const { graph } = reference.model;
  const inputs = bindInputs(reference.model, quantized.model);
  const valid = options.padded ? addInput(graph, 'moeq/valid', 'bool') : null;
  const targets = options.language ? addInput(graph, 'moeq/targets', 'int64') : null;
  const emitted = reference.layers.map((layer) => emitLayer(reference.model, layer, floatExperts(layer)));
  const records = reference.layers.map((layer) => recordOf(layer, quantized));
  exposeExperts(quantized.model, records);
  const find = valueFinder(quantized.model);
  const output = mainOutput(reference.model);
  const quantizedOutput = find(output.name);
  const [outputCopy, ...cumulative] = graftGroups(
    graph,
    [[quantizedOutput], ...records.map((record) => routerOf(record, find))],
    inputs,
    'quantized/',
  );
  const layers = reference.layers.map((layer, i) => ({
    reference: referenceRouter(layer),
    cumulative: routerValues(cumulative[i]),
    ...compareLocally(graph, layer, records[i], { emitted: emitted[i], find, inputs, valid }),
  }));
  const compared = compareOutputs(builder(graph, 'compare'), output, outputCopy[0], targets);
  graph.outputs = [...new Set(valuesIn([layers, compared]))];
  graph.removeDeadCode();
  return { model: reference.model, layers, output: compared, targets, valid };
}

/** Quantized router and experts on the reference's hidden states; the experts also with the reference's routing. */
function compareLocally(
  graph: Graph,
  layer: MoeLayer,
  record: LayerRecord,
  context: { emitted: EmittedExpert[]; find: Finder; inputs: Map<Value, Value>; valid: Value | null },
): { local: RouterValues; experts: ExpertErrors } {
  const { emitted, find, inputs, valid } = context;
  const entry = new Map(inputs).set(find(record.entry), entryOf(layer));
  const local = graft(graph, routerOf(record, find), entry, `local/${layer.id}/`);
  const { logits: _logits, ...routing } = referenceRouter(layer);
  const forced = new Map(entry).set(find(record.routing.weights), routing.weights);
  if (routing.indices && record.routing.indices) forced.set(find(record.routing.indices), routing.indices);
  const outputs = emitted.map(({ id }) => find(expertOutput(id)));
  const quantized = graft(graph, outputs, forced, `forced/${layer.id}/`);
  return {
    local: routerValues(local),
    experts: expertErrors(builder(graph, `compare/${layer.id}`), emitted, quantized, valid),
  };
}

/** Grafts several lists of values in one go, so that what they share is copied once. */
function graftGroups(
  graph: Graph,
  groups: readonly Value[][],
  bindings: ReadonlyMap<Value, Value>,
  prefix: string,
): Value[][] {
  const copies = graft(graph, groups.flat(), bindings, prefix);
  return groups.map((group) => copies.splice(0, group.length));
}

function referenceRouter(layer: MoeLayer): RouterValues {
  const routing = explicitRouting(layer);
  return {
    logits: layer.router.logits,
    indices: routing.kind === 'topk' ? routing.indices : null,
    weights: routing.weights,
  };
}

function routerOf({ logits, routing }: LayerRecord, find: Finder): Value[] {
  return [logits, routing.weights, ...(routing.indices ? [routing.indices] : [])].map(find);
}

function routerValues([logits, weights, indices = null]: (Value | null)[]): RouterValues {
  return { logits: logits!, weights: weights!, indices };
}

type Finder = (name: string) => Value;

function valueFinder({ graph, path }: Model): Finder {
  const made = graph.nodes.flatMap((node) => node.outputs).filter((value): value is Value => value !== null);
  const byName = new Map([...graph.inputs, ...made].map((value) => [value.name, value]));
  return (name) => {
    const value = byName.get(name);
    if (value) return value;
    throw mismatch(path, `it has no value ${name}`);
  };
}

function recordOf(layer: MoeLayer, { model, record }: Quantized): LayerRecord {
  const found = record.layers.find(({ id }) => id === layer.id);
  if (found && found.experts.length === layer.experts.filter(({ kind }) => kind === 'ffn').length)
    return found;
  throw mismatch(
    model.path,
    `layer ${layer.id} of the reference is not in it, or has another number of experts`,
  );
}

function bindInputs(reference: Model, quantized: Model): Map<Value, Value> {
  return new Map(
    quantized.graph.inputs.map((input) => {
      const match = reference.graph.inputs.find(({ name }) => name === input.name);
      if (!match) throw mismatch(quantized.path, `its input ${input.name} is not one of the reference's`);
      return [input, match];
    }),
  );
}

/** The output that is judged: `logits` if there is one, else the first floating-point output. */
function mainOutput({ graph, path }: Model): Value {
  const floats = graph.outputs.filter(({ dtype }) => dtype?.startsWith('float') || dtype === 'bfloat16');
  const output = floats.find(({ name }) => name === 'logits') ?? floats[0];
  if (output) return output;
  throw new Fault({
    code: 'VERIFY_OUTPUT',
    what: 'the model has no floating-point output to compare',
    where: path,
  });
}

function addInput(graph: Graph, name: string, dtype: 'bool' | 'int64'): Value {
  const value = new Value(graph.uniqueName(name), {
    name,
    type: { tensorType: { elemType: codeOf(dtype) } },
  });
  graph.inputs.push(value);
  return value;
}

/** All values in a nested record. */
function* valuesIn(item: unknown): Generator<Value> {
  if (item instanceof Value) yield item;
  else if (typeof item === 'object' && item !== null) {
    for (const part of Object.values(item)) yield* valuesIn(part);
  }
}

function mismatch(where: string, why: string): Fault {
  return new Fault({
    code: 'VERIFY_MISMATCH',
    what: 'the quantized model does not belong to this reference',
    where,
    why,
    remedy: 'compare a model that moeq wrote with the model it was made from',
  });
}
