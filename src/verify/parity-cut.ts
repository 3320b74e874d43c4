import { fusedResults } from '../emit/forms/qmoe-layer.ts';
import { parityInput, parityRows } from '../emit/parity-references.ts';
import { additionsTo } from '../onnx/additions.ts';
import { builder } from '../onnx/build.ts';
import { graft } from '../onnx/graft.ts';
import { allNodes, Graph } from '../onnx/graph.ts';
import { madeValues } from '../onnx/made-values.ts';
import type { Model } from '../onnx/model.ts';
import { newModel, opsetOf } from '../onnx/model.ts';
import { Value } from '../onnx/value.ts';
import type { Feeds, RunTensor } from '../runtime/session.ts';
import type { Matrix } from '../tensor/matrix.ts';
import type { ParityCheck } from './parity-checks.ts';

/** A piece of a model that runs by itself. */
export interface Cut {
  model: Model;
  /** Where it chooses between ways for few tokens and for many, feeds for both. */
  ways: Feeds[];
  /** In the order of what is expected. */
  outputs: string[];
}

/** What a check runs: the linears it looks at, and nothing before or behind them. */
export function cutOf(model: Model, check: ParityCheck): Cut {
  const [{ part }] = check.expected;
  if (part === 'alone') return cutAlone(model, check);
  return part === 'whole' ? cutFused(model, check) : cutLinears(model, check);
}

/** What `replaceLinear` wrote, from the rows it reads to its product before any bias. */
function cutAlone(model: Model, { layer }: ParityCheck): Cut {
  const find = valuesOf(model, layer.id);
  const product = (find('biased') ?? find('typed')!).producer!.inputs[0]!;
  return cutOut(
    model,
    [product],
    [{ value: find('rows')!, name: 'rows', tensor: floats(parityInput(layer.hidden)) }],
  );
}

/** Linears of some experts of a layer, between the values that carry tokens in and out. */
function cutLinears(model: Model, { layer, experts, expected }: ParityCheck): Cut {
  const find = valuesOf(model, layer.id);
  const [{ rows }] = expected;
  const inputs = {
    tokens: floats(parityInput(layer.hidden)),
    hidden: floats(repeated(parityInput(layer.intermediate), rows.length)),
    are_few: bool(false),
    gains_here: bool(true),
    ...pairsOf({ ...experts, count: rows.length }),
  };
  const bound = Object.entries(inputs).flatMap(([name, tensor]) => {
    const value = find(name);
    return value ? [{ value, name, tensor }] : [];
  });
  const wanted = expected.map(({ part }) => find(part === 'down' ? 'results' : part)!);
  const cut = cutOut(model, wanted, bound);
  leaveOnly(cut.model.graph, new Set(rows.map(({ id }) => id)));
  return cut;
}

/** Takes away the products of other experts, which have no rows, so that their weights are not in memory. */
function leaveOnly(graph: Graph, experts: ReadonlySet<string>): void {
  const isOther = ({ producer }: Value): boolean => {
    const [, expert] = /^moeq\/(L\d+\.E\d+)\//.exec(producer?.name ?? '') ?? [];
    return expert !== undefined && !experts.has(expert);
  };
  for (const node of allNodes(graph)) {
    if (node.opType === 'Concat') node.setInputs(node.inputs.filter((value) => !value || !isOther(value)));
  }
  graph.removeDeadCode();
}

/** The fused operator on pairs of an input and one expert. */
function cutFused(model: Model, { layer, experts: { of } }: ParityCheck): Cut {
  const find = valuesOf(model, layer.id);
  const node = model.graph.nodes.find(({ name }) => name === `moeq/${layer.id}/fused`)!;
  const takeOff = additionsTo(model.graph);
  const pairs = { tokens: new Value('pair_tokens'), experts: new Value('pair_experts') };
  const all = fusedResults(builder(model.graph, `parity/${layer.id}`), node, pairs, of);
  const { pair_tokens, pair_experts } = pairsOf({ first: 0, count: of, of });
  const cut = cutOut(
    model,
    [all],
    [
      { value: find('tokens')!, name: 'tokens', tensor: floats(parityInput(layer.hidden)) },
      { value: pairs.tokens, name: 'pair_tokens', tensor: pair_tokens },
      { value: pairs.experts, name: 'pair_experts', tensor: pair_experts },
    ],
  );
  takeOff();
  return cut;
}

function cutOut(
  model: Model,
  wanted: readonly Value[],
  bound: readonly { value: Value; name: string; tensor: RunTensor }[],
): Cut {
  const graph = new Graph('parity');
  const inputs = bound.map(({ value, name, tensor }) => {
    const input = graph.addInput(name, tensor.dtype, tensor.dims.length);
    return { value, input, tensor };
  });
  const bindings = new Map(inputs.map(({ value, input }) => [value, input]));
  graph.outputs = graft(graph, wanted, bindings, '');
  const read = inputs.filter(({ input }) => input.uses.length > 0);
  graph.inputs = read.map(({ input }) => input);
  const opsets = { '': opsetOf(model), 'com.microsoft': 1 };
  const feeds = Object.fromEntries(read.map(({ input, tensor }) => [input.name, tensor]));
  return {
    model: newModel(graph, opsets, model.irVersion, model.path),
    ways: feeds['are_few'] ? [feeds, { ...feeds, are_few: bool(true) }] : [feeds],
    outputs: graph.outputs.map(({ name }) => name),
  };
}

/** Every row of input with each of some experts, sorted by expert as the layer wants it. */
function pairsOf({ first, count, of }: { first: number; count: number; of: number }): Feeds {
  const pairs = count * parityRows;
  const slots = Array.from({ length: pairs }, (_, i) => i);
  const isRun = (expert: number): boolean => expert >= first && expert < first + count;
  return {
    pair_tokens: ints(slots.map((slot) => slot % parityRows)),
    pair_experts: ints(slots.map((slot) => first + Math.floor(slot / parityRows))),
    counts: ints(Array.from({ length: of }, (_, expert) => (isRun(expert) ? parityRows : 0))),
    pair_weights: { dtype: 'float32', dims: [pairs, 1], data: new Float32Array(pairs).fill(1) },
  };
}

function ints(values: readonly number[]): RunTensor {
  return { dtype: 'int64', dims: [values.length], data: BigInt64Array.from(values, BigInt) };
}

function bool(value: boolean): RunTensor {
  return { dtype: 'bool', dims: [], data: Uint8Array.of(Number(value)) };
}

function floats({ rows, cols, data }: Matrix): RunTensor {
  return { dtype: 'float32', dims: [rows, cols], data };
}

function repeated({ rows, cols, data }: Matrix, times: number): Matrix {
  const result = new Float32Array(times * data.length);
  for (let i = 0; i < times; i++) result.set(data, i * data.length);
  return { rows: rows * times, cols, data: result };
}

function valuesOf({ graph }: Model, layer: string): (name: string) => Value | undefined {
  const byName = madeValues(graph);
  return (name) => byName.get(`moeq/${layer}/${name}`);
}
