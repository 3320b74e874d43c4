import { fusedResults } from '../emit/forms/qmoe-layer.ts';
import type { LinearRows } from '../emit/parity-references.ts';
import { parityInput, parityRows } from '../emit/parity-references.ts';
import { Fault } from '../fault.ts';
import { additionsTo } from '../onnx/additions.ts';
import { builder } from '../onnx/build.ts';
import { graft } from '../onnx/graft.ts';
import { allNodes, Graph } from '../onnx/graph.ts';
import { madeValues } from '../onnx/made-values.ts';
import type { Model } from '../onnx/model.ts';
import { newModel, opsetOf } from '../onnx/model.ts';
import { Value } from '../onnx/value.ts';
import type { Feeds, RunTensor, SessionOptions } from '../runtime/session.ts';
import { openSession, toFloats } from '../runtime/session.ts';
import type { Matrix } from '../tensor/matrix.ts';
import type { ExpectedPart, ParityCheck } from './parity-checks.ts';

/**
 * Executes every quantized linear of a written model on inputs of ours and compares with what was noted when its
 * weights were written.
 * @throws Fault PARITY for the first layer, linear and expert that differs
 */
export async function checkParity(
  model: Model,
  checks: readonly ParityCheck[],
  options: SessionOptions = {},
): Promise<void> {
  for (const check of checks) await runCheck(model, check, options);
}

async function runCheck(model: Model, check: ParityCheck, options: SessionOptions): Promise<void> {
  const cut = cutOf(model, check);
  if (check.exactKernels) computeExactly(cut.model);
  const session = await openSession(cut.model, options);
  try {
    for (const feeds of waysOf(cut.feeds)) {
      const results = await session.run(feeds);
      check.expected.forEach((part, i) => compare(check, part, toFloats(results[cut.outputs[i]])));
    }
  } finally {
    await session.release();
  }
}

function cutOf(model: Model, check: ParityCheck): Cut {
  const [{ part }] = check.expected;
  if (part === 'alone') return cutAlone(model, check);
  return part === 'whole' ? cutFused(model, check) : cutLinears(model, check);
}

/** MatMulNBits with its activations in float32, at level 0. */
function computeExactly({ graph }: Model): void {
  for (const { attributes } of allNodes(graph)) {
    const level = attributes.get('accuracy_level');
    if (level) attributes.set('accuracy_level', { ...level, i: 0 });
  }
}

/** Where a graph chooses between ways for few tokens and for many, both. */
function waysOf(feeds: Feeds): Feeds[] {
  return feeds['are_few'] ? [feeds, { ...feeds, are_few: bool(true) }] : [feeds];
}

/** A piece of a model that runs by itself. */
interface Cut {
  model: Model;
  feeds: Feeds;
  /** In the order of what is expected. */
  outputs: string[];
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
  return {
    model: newModel(graph, opsets, model.irVersion, model.path),
    feeds: Object.fromEntries(read.map(({ input, tensor }) => [input.name, tensor])),
    outputs: graph.outputs.map(({ name }) => name),
  };
}

/** Every row of input with each of some experts, sorted by expert as the layer wants it. */
function pairsOf({
  first,
  count,
  of,
}: {
  first: number;
  count: number;
  of: number;
}): Record<string, RunTensor> {
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

function compare(
  { layer, tolerance }: ParityCheck,
  { part, rows }: ExpectedPart,
  actual: Float32Array,
): void {
  let from = 0;
  for (const { id, ...linear } of rows) {
    const values = actual.subarray(from, (from += linear.rows.data.length));
    const error = tolerance < coarse ? rowError(values, linear) : normError(values, linear);
    const name = part === 'whole' ? 'gate, up and down' : part;
    const where = part === 'alone' ? layer.id : `layer ${layer.id}, expert ${id}, ${name}`;
    requireParity(error, tolerance, where);
  }
}

/** From this tolerance on errors are measured by their norm. */
const coarse = 1e-3;

function requireParity(error: number, tolerance: number, where: string): void {
  if (error <= tolerance) return;
  throw new Fault({
    code: 'PARITY',
    what: `a written linear does not compute what its weights stand for`,
    where,
    why: `its relative error is ${error.toExponential(2)}, more than ${tolerance}`,
    remedy: 'this is a defect of the file or of ONNX Runtime: write another target, and report it',
  });
}

/**
 * ‖actual - expected‖ / ‖expected‖, or what that norm usually is: for kernels that round, whose single values may be off
 * by more.
 */
function normError(actual: Float32Array, linear: LinearRows): number {
  const { data } = linear.rows;
  if (actual.length !== data.length) return Infinity;
  let [error, norm] = [0, data.length * linear.least ** 2];
  data.forEach((value, i) => {
    error += (actual[i] - value) ** 2;
    norm += sizeOf(linear, i) ** 2;
  });
  const relative = Math.sqrt(error / Math.max(norm, linear.usual ** 2));
  return Number.isNaN(relative) ? Infinity : relative;
}

/** Largest difference relative to the largest magnitude of its row; infinite for missing values and NaN. */
function rowError(actual: Float32Array, linear: LinearRows): number {
  const { rows, cols, data } = linear.rows;
  if (actual.length !== data.length) return Infinity;
  let worst = 0;
  for (let r = 0; r < rows; r++) {
    let [gap, largest] = [0, linear.least];
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      const difference = Math.abs(actual[i] - data[i]);
      gap = Number.isNaN(difference) ? Infinity : Math.max(gap, difference);
      largest = Math.max(largest, sizeOf(linear, i));
    }
    worst = Math.max(worst, gap / largest);
  }
  return worst;
}

/**
 * Magnitude of an expected value or of the product in it: a bias that gives back what a shift took from the tokens may
 * leave next to nothing of it.
 */
function sizeOf({ rows: { cols, data }, bias }: LinearRows, i: number): number {
  return Math.max(Math.abs(data[i]), bias ? Math.abs(data[i] - bias[i % cols]) : 0);
}
