import { fakeQuantize } from '../emit/forms/fake-quantize.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Graph } from '../onnx/graph.ts';
import type { Value } from '../onnx/value.ts';
import type { Probe } from '../run/probe.ts';
import { toFloats } from '../runtime/session.ts';
import type { Matrix } from '../tensor/matrix.ts';
import { keptRows } from './kept-rows.ts';

/** A router and the quantized forms of it that are compared. */
export interface RouterClipTrial {
  /** In the graph that is tapped. */
  input: Value;
  /** [experts, hidden] */
  weight: Matrix;
  /** [experts], or null. */
  bias: Float32Array | null;
  /** What each candidate's codes stand for, [experts, hidden] each. */
  candidates: readonly Matrix[];
  /** Experts that count one by one in the divergence; as many as there are for the divergence of all. */
  top: number;
}

/** Graph outputs of one batch, summed over tokens, one entry per candidate. */
interface RouterClipTaps {
  /** [1], the same for all. */
  tokens: Value;
  /** Squared logit errors, summed over experts. */
  squares: Value;
  /**
   * Divergence of the choice: KL, float to candidate, between softmax distributions in which the float router's top
   * experts count one by one and all others as one outcome. Unlike a KL that leaves the others out it is never negative
   * and zero only where the top experts agree.
   */
  divergence: Value;
}

/** What each candidate of a router costs, summed over tokens; see `RouterClipTaps`. */
export interface RouterClipSums {
  tokens: number;
  squares: Float64Array;
  divergence: Float64Array;
}

/** A probe that compares quantized forms of a router with the float one. */
export interface RouterClipProbe extends Probe {
  /** Of the batches taken so far. */
  sums: RouterClipSums;
}

/** Adds the sums of {@link tapRouterClips} to a graph. */
export function routerClipProbe(graph: Graph, trial: RouterClipTrial, valid: Value | null): RouterClipProbe {
  const taps = tapRouterClips(builder(graph, 'moeq/clips'), trial, valid);
  const { length } = trial.candidates;
  const sums = { tokens: 0, squares: new Float64Array(length), divergence: new Float64Array(length) };
  return {
    sums,
    outputs: Object.values(taps),
    take(results) {
      const valuesOf = ({ name }: Value): Float32Array => toFloats(results[name]);
      sums.tokens += valuesOf(taps.tokens)[0];
      valuesOf(taps.squares).forEach((sum, c) => (sums.squares[c] += sum));
      valuesOf(taps.divergence).forEach((sum, c) => (sums.divergence[c] += sum));
    },
  };
}

/** Smallest share of the other experts that float32 can tell from none. */
const tiny = 2 ** -24;

/**
 * Adds the logits of all candidates beside those of the float router, on the same tokens; the candidates read them in 8
 * bits, as they will when they are written. For `valid` see `keptFlags`.
 */
function tapRouterClips(b: Builder, trial: RouterClipTrial, valid: Value | null): RouterClipTaps {
  const { input, weight, bias, candidates, top } = trial;
  const { rows: experts, cols: hidden } = weight;
  const x = keptRows(b, input, hidden, valid);
  const matrixOf = (name: string, { rows, data }: Matrix): Value =>
    b.constant(name, 'float32', [rows, hidden], data);
  const float = b.op('Gemm', [x, matrixOf('float', weight)], { transB: 1 });
  const all = { rows: experts * candidates.length, cols: hidden, data: stacked(candidates) };
  const products = b.op(
    'Gemm',
    [fakeQuantize(b, x, { bits: 8, width: hidden, block: hidden }), matrixOf('candidates', all)],
    { transB: 1 },
  );
  const perCandidate = b.op('Reshape', [products, b.ints([-1, candidates.length, experts])]);
  const reference = b.op('Unsqueeze', [float, b.ints([1])]);
  const error = b.op('Sub', [perCandidate, reference]);
  const added = b.constant('bias', 'float32', [experts], bias ?? new Float32Array(experts));
  const logs = (logits: Value): Value => b.op('LogSoftmax', [b.op('Add', [logits, added])], { axis: -1 });
  return {
    tokens: b.op('Shape', [x], { start: 0, end: 1 }, { name: 'tokens' }),
    squares: b.op('ReduceSumSquare', [error, b.ints([0, 2])], { keepdims: 0 }, { name: 'squares' }),
    divergence: divergence(b, logs(float), logs(perCandidate), {
      top,
      experts,
      candidates: candidates.length,
    }),
  };
}

/** From log-probabilities p [T, experts] and q [T, candidates, experts] to the divergences, [candidates]. */
function divergence(
  b: Builder,
  p: Value,
  q: Value,
  { top, experts, candidates }: { top: number; experts: number; candidates: number },
): Value {
  const [topP, chosen] = b.ops(2, 'TopK', [p, b.ints([top])], { axis: -1 });
  const places = b.op('Unsqueeze', [chosen, b.ints([1])]);
  const each = b.op('Tile', [places, b.ints([1, candidates, 1])]);
  const topQ = b.op('GatherElements', [q, each], { axis: 2 });
  const pairs =
    top === experts
      ? [[topP, topQ]]
      : [
          [topP, topQ],
          [others(b, topP), others(b, topQ)],
        ];
  const terms = pairs.map(([logP, logQ]) => {
    const reference = b.op('Unsqueeze', [logP, b.ints([1])]);
    const gain = b.op('Sub', [reference, logQ]);
    const weighed = b.op('Mul', [b.op('Exp', [reference]), gain]);
    return b.op('ReduceSum', [weighed, b.ints([0, 2])], { keepdims: 0 });
  });
  return b.op('Sum', terms, {}, { name: 'divergence' });
}

/** The log-probability of all experts that are not among the top, [..., 1]. */
function others(b: Builder, top: Value): Value {
  const share = b.op('ReduceSum', [b.op('Exp', [top]), b.ints([-1])], { keepdims: 1 });
  const scalar = (name: string, value: number): Value => b.constant(name, 'float32', [], [value]);
  const rest = b.op('Sub', [scalar('one', 1), share]);
  return b.op('Log', [b.op('Max', [rest, scalar('tiny', tiny)])]);
}

function stacked(candidates: readonly Matrix[]): Float32Array {
  const [{ data }] = candidates;
  const all = new Float32Array(candidates.length * data.length);
  candidates.forEach((candidate, i) => all.set(candidate.data, i * data.length));
  return all;
}
