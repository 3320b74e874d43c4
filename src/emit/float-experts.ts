import { ffnExperts } from '../moe/ffn-experts.ts';
import type { Expert, Linear, MoeLayer } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { bytesOf } from '../onnx/tensor.ts';
import { readMatrix, readVector } from '../tensor/view.ts';
import { emitActivation } from './activation.ts';
import type { PairEmitter } from './expert-emitter.ts';
import { splitByExpert } from './split-by-expert.ts';

/** Called with each expert's two linear inputs, so that statistics can be attached to them. */
export type ExpertTap = (
  b: Builder,
  expert: Expert,
  linearInputs: { input: Value; hidden: Value },
  /** The expert's tokens: row numbers [n], and what the routing multiplies its outputs (or inputs) by, [n, 1]. */
  routed: { rows: Value; weights: Value },
) => void;

/** The experts in float, as in the source: what calibration runs. */
export function floatExperts(layer: MoeLayer, tap: ExpertTap = () => {}): PairEmitter {
  const experts = ffnExperts(layer);
  const emit: PairEmitter['emit'] = (b, tokens, { tokens: pairTokens, counts, weights, inputWeights }) => {
    const gathered = b.op('Gather', [tokens, pairTokens], {}, { name: 'pair_rows' });
    const inputs = inputWeights ? b.op('Mul', [gathered, inputWeights], {}, { name: 'inputs' }) : gathered;
    const rows = splitByExpert(b, pairTokens, counts, experts.length);
    const parts = splitByExpert(b, inputs, counts, experts.length);
    const shares = splitByExpert(b, weights, counts, experts.length);
    const results = experts.map((expert, i) => {
      const inner = builder(b.graph, `moeq/${expert.id}`);
      const hidden = hiddenOf(inner, layer, expert, parts[i]);
      tap(inner, expert, { input: parts[i], hidden }, { rows: rows[i], weights: shares[i] });
      return emitLinear(inner, 'down', expert.down!, hidden);
    });
    return b.op('Concat', results, { axis: 0 }, { name: 'results' });
  };
  return { kind: 'pairs', emit };
}

function hiddenOf(b: Builder, { activation }: MoeLayer, expert: Expert, input: Value): Value {
  const gate = expert.gate && emitLinear(b, 'gate', expert.gate, input);
  return emitActivation(b, activation, gate, emitLinear(b, 'up', expert.up!, input));
}

function emitLinear(b: Builder, name: string, { weight, bias }: Linear, x: Value): Value {
  const { rows, cols } = weight;
  const w = b.constant(`${name}/weight`, 'float32', [rows, cols], {
    byteLength: rows * cols * 4,
    read: (offset = 0, length = rows * cols * 4 - offset) =>
      bytesOf(readMatrix(weight).data).subarray(offset, offset + length),
  });
  const inputs = bias ? [x, w, b.constant(`${name}/bias`, 'float32', [rows], readVector(bias.view))] : [x, w];
  return b.op('Gemm', inputs, { transB: 1 }, { name });
}
