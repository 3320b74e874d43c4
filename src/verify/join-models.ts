import type { EmittedPairs } from '../emit/emit-layer.ts';
import type { ExpertResults } from '../emit/expert-results.ts';
import { expertResults } from '../emit/expert-results.ts';
import { emitFloat } from '../emit/float-experts.ts';
import { Fault } from '../fault.ts';
import { ffnExperts } from '../moe/ffn-experts.ts';
import type { LayerRecord, ModelRecord } from '../moe/model-record.ts';
import { entryOf } from '../moe/model-record.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { builder } from '../onnx/build.ts';
import { graft, graftConstants } from '../onnx/graft.ts';
import type { Graph } from '../onnx/graph.ts';
import { madeValues } from '../onnx/made-values.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { valuesIn } from '../onnx/values-in.ts';
import { isFloat } from '../tensor/dtype.ts';
import type { OutputDistance, ReferenceOutput } from './compare-outputs.ts';
import { compareOutputs } from './compare-outputs.ts';
import type { ExpertErrors } from './expert-errors.ts';
import { expertErrors } from './expert-errors.ts';
import type { EnteredPair } from './join-hybrids.ts';
import { joinHybrids, mixingProblem } from './join-hybrids.ts';
import type { RawRouter } from './raw-router.ts';
import { routerOfLayer, routerOfRecord, valuesOf, withValues } from './raw-router.ts';
import type { RouterValues } from './router-values.ts';
import { routerValues } from './router-values.ts';

/** What is compared of one layer. */
export interface LayerComparison {
  reference: RouterValues;
  /** The quantized router, fed the reference's hidden states. */
  local: RouterValues;
  /** The quantized router, fed the quantized model's own. */
  cumulative: RouterValues;
  /** The quantized experts on the reference's hidden states and pairs. */
  experts: ExpertErrors;
}

/** The output of the reference, and how far the others are from it. */
export interface JoinedOutput {
  reference: ReferenceOutput;
  quantized: OutputDistance;
  /** Models of mixed parts (see `joinHybrids`); absent when they were not asked for or cannot be made. */
  routing?: OutputDistance;
  experts?: OutputDistance;
}

/** Two models in one graph. */
export interface JoinedModels {
  model: Model;
  layers: LayerComparison[];
  output: JoinedOutput;
  /** Per layer, where it begins in the models of mixed parts; nothing where there are none. */
  entries: Value[][];
  /** An added graph input: the next token of each position (int64). */
  targets: Value | null;
  /** Why there are no models of mixed parts; empty if there are. */
  unmixed: string;
}

interface Quantized {
  model: Model;
  record: ModelRecord;
}

/** One layer in both models. */
interface LayerPair extends EnteredPair {
  emitted: EmittedPairs;
  /** What its experts compute in the quantized model's own graph. */
  experts: ExpertResults;
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
  options: { language: boolean; attribution: boolean; byLayer: boolean },
): JoinedModels {
  const { graph } = reference.model;
  const inputs = bindInputs(reference.model, quantized.model);
  const targets = options.language ? graph.addInput('moeq/targets', 'int64') : null;
  const find = valueFinder(quantized.model);
  const pairs = reference.layers.map((layer) => {
    const emitted = emitFloat(reference.model, layer, options.byLayer);
    return pairLayer(layer, emitted, quantized, find);
  });
  const output = mainOutput(reference.model);
  const quantizedOutput = find(output.name);
  const bindings = new Map([...inputs, ...graftConstants(graph, quantized.model.graph, 'quantized/')]);
  const copies = graftGroups(
    graph,
    [[quantizedOutput], ...pairs.map((pair) => valuesOf(pair.quantized))],
    bindings,
    'quantized/',
  );
  const [[outputCopy], ...routerCopies] = copies;
  const cumulative = pairs.map((pair, i) => withValues(pair.quantized, routerCopies[i]));
  const unmixed = options.attribution ? mixingProblem(pairs) : 'verify.attribution is off';
  const outputs = { reference: output, quantized: quantizedOutput };
  const hybrids = unmixed ? null : joinHybrids(graph, outputs, pairs, cumulative, bindings);
  const layers = pairs.map((pair, i) => compareLayer(graph, pair, cumulative[i], bindings));
  const b = builder(graph, 'compare');
  const compared = hybrids
    ? compareOutputs(b, output, { quantized: outputCopy, ...hybrids.outputs }, targets)
    : compareOutputs(b, output, { quantized: outputCopy }, targets);
  graph.outputs = [...new Set(valuesIn([layers, compared]))];
  graph.removeDeadCode();
  const entries = hybrids?.entries ?? pairs.map(() => []);
  return { model: reference.model, layers, output: compared, entries, targets, unmixed };
}

/** Finds the parts of a layer, which was written out in the reference, in the quantized model. */
function pairLayer(layer: MoeLayer, emitted: EmittedPairs, quantized: Quantized, find: Finder): LayerPair {
  const record = recordOf(layer, quantized);
  const reference = routerOfLayer(layer);
  return {
    layer,
    emitted,
    reference,
    entry: find(record.entry),
    quantized: routerOfRecord(record, find, reference),
    experts: expertResults(quantized.model, record, emitted.dispatch),
  };
}

/** Adds the quantized router and experts on the reference's hidden states; the experts also on its pairs. */
function compareLayer(
  graph: Graph,
  { layer, emitted, reference, entry, quantized, experts }: LayerPair,
  cumulative: RawRouter,
  bindings: ReadonlyMap<Value, Value>,
): LayerComparison {
  const b = builder(graph, `compare/${layer.id}`);
  const entered = new Map(bindings).set(entry, entryOf(layer));
  const local = graft(graph, valuesOf(quantized), entered, `local/${layer.id}/`);
  const paired = new Map([...entered, ...experts.bindings]);
  const [results] = graft(graph, [experts.results], paired, `forced/${layer.id}/`);
  const read = (router: RawRouter): RouterValues => routerValues(b, router, layer.router.experts);
  return {
    reference: read(reference),
    local: read(withValues(quantized, local)),
    cumulative: read(cumulative),
    experts: expertErrors(b, emitted, results),
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

type Finder = (name: string) => Value;

function valueFinder({ graph, path }: Model): Finder {
  const byName = madeValues(graph);
  for (const input of graph.inputs) byName.set(input.name, input);
  return (name) => {
    const value = byName.get(name);
    if (value) return value;
    throw mismatch(path, `it has no value ${name}`);
  };
}

/** What a quantized model says of a layer. @throws Fault VERIFY_MISMATCH */
export function recordOf(layer: MoeLayer, { model, record }: Quantized): LayerRecord {
  const found = record.layers.find(({ id }) => id === layer.id);
  if (found && found.experts.length === ffnExperts(layer).length) return found;
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
export function mainOutput({ graph, path }: Model): Value {
  const floats = graph.outputs.filter(({ dtype }) => dtype && isFloat(dtype));
  const output = floats.find(({ name }) => name === 'logits') ?? floats[0];
  if (output) return output;
  throw new Fault({
    code: 'VERIFY_OUTPUT',
    what: 'the model has no floating-point output to compare',
    where: path,
  });
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
