import { Fault } from '../fault.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { builder } from '../onnx/build.ts';
import { graft } from '../onnx/graft.ts';
import { Graph } from '../onnx/graph.ts';
import type { Model } from '../onnx/model.ts';
import { newModel, opsetOf } from '../onnx/model.ts';
import { Value } from '../onnx/value.ts';
import type { Feeds, RunTensor } from '../runtime/session.ts';
import { openSession, toFloats } from '../runtime/session.ts';
import type { Matrix } from '../tensor/matrix.ts';
import type { LayerProbes } from '../emit/parity-probes.ts';
import { probeInput, probeRows } from '../emit/parity-probes.ts';
import { fusedResults } from '../emit/qmoe-layer.ts';
import type { Target } from '../emit/resolve-target.ts';

/**
 * Largest accepted error of a written linear against the reference dequantization: of any value relative to the largest
 * of its row where the kernel is exact, of the whole relative to its norm where it rounds. MatMulNBits is checked in float32 (accuracy level 0) and as it is written (level 4, which
 * rounds activations to 8 bits per block); QMoE computes 2-bit blocks from tables of 8-bit activations.
 */
export function parityTolerance(target: Target, bits: number, exactKernels: boolean): number {
  if (target === 'qmoe') return bits === 2 ? 5e-2 : 1e-4;
  return target === 'int' || target === 'qdq' || exactKernels ? exactTolerance : 2e-2;
}

const exactTolerance = 1e-5;

/**
 * Executes every quantized linear of a written model on the probe inputs, all experts of a layer in one run, and
 * compares with what was noted when its weights were written.
 * @throws Fault PARITY for the first layer, expert and linear that differs
 */
export async function checkParity(model: Model, layers: readonly LayerProbes[]): Promise<void> {
  for (const probes of layers) {
    const usesNBits = probes.resolved.target === 'nbits' || probes.resolved.target === 'packed';
    for (const exactKernels of usesNBits ? [true, false] : [false])
      await checkLayer(model, probes, exactKernels);
    if (probes.router) await checkRouter(model, probes.layer, probes.router);
  }
}

async function checkLayer(model: Model, probes: LayerProbes, exactKernels: boolean): Promise<void> {
  const { target, scheme } = probes.resolved;
  const tolerance = Math.max(
    parityTolerance(target, scheme.weight.bits, exactKernels),
    isRotated(probes) ? rotatedTolerance : 0,
  );
  const cut = target === 'qmoe' ? cutFused(model, probes) : cutLinears(model, probes);
  if (exactKernels) {
    for (const { attributes } of cut.model.graph.nodes) {
      const level = attributes.get('accuracy_level');
      if (level) attributes.set('accuracy_level', { ...level, i: 0 });
    }
  }
  const session = await openSession(cut.model);
  try {
    for (const feeds of waysOf(cut.feeds)) {
      const results = await session.run(feeds);
      for (const [part, name] of cut.outputs)
        comparePart(probes, part as ExpertPart, toFloats(results[name]), tolerance);
    }
  } finally {
    await session.release();
  }
}

/** Where a graph chooses between ways for few tokens and for many, both. */
function waysOf(feeds: Feeds): Feeds[] {
  return feeds['are_few'] ? [feeds, { ...feeds, are_few: bool(true) }] : [feeds];
}

/** A router in 8 bits, from the rows it reads to its product. */
async function checkRouter(model: Model, { id, hidden }: MoeLayer, expected: Matrix): Promise<void> {
  const find = valuesOf(model, id);
  const product = find('router/typed')!.producer!.inputs[0]!;
  const rows = { value: find('router/rows')!, name: 'rows', tensor: floats(probeInput(hidden)) };
  const cut = cutOut(model, [['router', product]], [rows]);
  const session = await openSession(cut.model);
  try {
    const [[, name]] = cut.outputs;
    const actual = toFloats((await session.run(cut.feeds))[name]);
    requireParity(rowError(actual, expected), exactTolerance, `layer ${id}, router`);
  } finally {
    await session.release();
  }
}

/** Behind a rotation, computed in another order here and there, a value on a tie may fall to either code. */
const rotatedTolerance = 1e-2;

function isRotated({ rotation }: LayerProbes): boolean {
  return rotation.input !== null || rotation.hidden !== null;
}

/** From this tolerance on errors are measured by their norm. */
const coarse = 1e-3;

type Part = ExpertPart | 'router';
type ExpertPart = 'gate' | 'up' | 'down' | 'whole';

/** A piece of a model that runs by itself. */
interface Cut {
  model: Model;
  feeds: Feeds;
  outputs: [Part, string][];
}

/** The linears of a layer, between the values that carry tokens in and out. */
function cutLinears(model: Model, { layer, experts }: LayerProbes): Cut {
  const find = valuesOf(model, layer.id);
  const tokens = floats(probeInput(layer.hidden));
  const hidden = floats(repeated(probeInput(layer.intermediate), experts.length));
  const inputs = {
    tokens,
    hidden,
    are_few: bool(false),
    ...pairsOf(experts.length),
  };
  const parts: [Part, Value | undefined][] = [
    ['gate', find('gate')],
    ['up', find('up')],
    ['down', find('results')],
  ];
  const wanted = parts.filter((entry): entry is [Part, Value] => entry[1] !== undefined);
  const bound = Object.entries(inputs).flatMap(([name, tensor]) => {
    const value = find(name);
    return value ? [{ value, name, tensor }] : [];
  });
  return cutOut(model, wanted, bound);
}

/** The fused operator on pairs of a probe and one expert. */
function cutFused(model: Model, { layer, experts }: LayerProbes): Cut {
  const find = valuesOf(model, layer.id);
  const node = model.graph.nodes.find(({ name }) => name === `moeq/${layer.id}/fused`)!;
  const nodes = model.graph.nodes.length;
  const constants = new Set(model.graph.constants);
  const pairs = { tokens: new Value('pair_tokens'), experts: new Value('pair_experts') };
  const all = fusedResults(builder(model.graph, `parity/${layer.id}`), node, pairs, experts.length);
  const { pair_tokens, pair_experts } = pairsOf(experts.length);
  const cut = cutOut(
    model,
    [['whole', all]],
    [
      { value: find('tokens')!, name: 'tokens', tensor: floats(probeInput(layer.hidden)) },
      { value: pairs.tokens, name: 'pair_tokens', tensor: pair_tokens },
      { value: pairs.experts, name: 'pair_experts', tensor: pair_experts },
    ],
  );
  for (const extra of model.graph.nodes.splice(nodes)) extra.detach();
  for (const value of model.graph.constants) if (!constants.has(value)) model.graph.constants.delete(value);
  return cut;
}

function cutOut(
  model: Model,
  wanted: readonly [Part, Value][],
  bound: readonly { value: Value; name: string; tensor: RunTensor }[],
): Cut {
  const graph = new Graph('parity');
  const inputs = bound.map(({ value, name, tensor }) => {
    const input = graph.addInput(name, tensor.dtype, tensor.dims.length);
    return { value, input, tensor };
  });
  const outputs = graft(
    graph,
    wanted.map(([, value]) => value),
    new Map(inputs.map(({ value, input }) => [value, input])),
    '',
  );
  graph.outputs = outputs;
  const read = inputs.filter(({ input }) => input.uses.length > 0);
  graph.inputs = read.map(({ input }) => input);
  const opsets = { '': opsetOf(model), 'com.microsoft': 1 };
  return {
    model: newModel(graph, opsets, model.irVersion, model.path),
    feeds: Object.fromEntries(read.map(({ input, tensor }) => [input.name, tensor])),
    outputs: wanted.map(([part], i) => [part, outputs[i].name]),
  };
}

/** Every probe row with every expert, sorted by expert as the layer wants it. */
function pairsOf(experts: number): Record<string, RunTensor> {
  const pairs = experts * probeRows;
  const slots = Array.from({ length: pairs }, (_, i) => i);
  return {
    pair_tokens: ints(slots.map((slot) => slot % probeRows)),
    pair_experts: ints(slots.map((slot) => Math.floor(slot / probeRows))),
    counts: ints(Array.from({ length: experts }, () => probeRows)),
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
  const made = graph.nodes.flatMap((node) => node.outputs).filter((value) => value !== null);
  const byName = new Map(made.map((value) => [value.name, value]));
  return (name) => byName.get(`moeq/${layer}/${name}`);
}

function comparePart(
  { layer, experts }: LayerProbes,
  part: ExpertPart,
  actual: Float32Array,
  tolerance: number,
): void {
  experts.forEach((expert, i) => {
    const expected = expert[part]!;
    const size = expected.data.length;
    const values = actual.subarray(i * size, (i + 1) * size);
    const error = tolerance < coarse ? rowError(values, expected) : normError(values, expected);
    const name = part === 'whole' ? 'gate, up and down' : part;
    requireParity(error, tolerance, `layer ${layer.id}, expert ${expert.id}, ${name}`);
  });
}

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

/** ‖actual - expected‖ / ‖expected‖: for kernels that round, whose single values may be off by more. */
function normError(actual: Float32Array, { data }: Matrix): number {
  if (actual.length !== data.length) return Infinity;
  let [error, norm] = [0, 2 ** -126];
  data.forEach((value, i) => {
    error += (actual[i] - value) ** 2;
    norm += value ** 2;
  });
  const relative = Math.sqrt(error / norm);
  return Number.isNaN(relative) ? Infinity : relative;
}

/** Largest difference relative to the largest magnitude of its row; infinite for missing values and NaN. */
function rowError(actual: Float32Array, { rows, cols, data }: Matrix): number {
  if (actual.length !== data.length) return Infinity;
  let worst = 0;
  for (let r = 0; r < rows; r++) {
    let [gap, largest] = [0, 2 ** -126];
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      const difference = Math.abs(actual[i] - data[i]);
      gap = Number.isNaN(difference) ? Infinity : Math.max(gap, difference);
      largest = Math.max(largest, Math.abs(data[i]));
    }
    worst = Math.max(worst, gap / largest);
  }
  return worst;
}
