import { Fault } from '../fault.ts';
import type { LayerRecord } from '../moe/model-record.ts';
import { builder } from '../onnx/build.ts';
import { madeValues } from '../onnx/made-values.ts';
import type { Model } from '../onnx/model.ts';
import { Value } from '../onnx/value.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import { fusedResults } from './forms/qmoe-layer.ts';

/** The experts of a written layer, ready to be run on pairs of another graph. */
export interface ExpertResults {
  /** [S, hidden], before a routing weight on the output. */
  results: Value;
  /** What has to be bound (see `graft`) so that `results` are those of the given pairs. */
  bindings: [Value, Value][];
}

/**
 * Finds what the experts of a written model make of the pairs of `dispatch`, whatever form they are written in. A fused
 * operator shows no single expert, so nodes that run it expert by expert are added to `model`.
 * @throws Fault RECORD_INVALID when the model lacks the values its record speaks of
 */
export function expertResults(model: Model, { id, experts }: LayerRecord, dispatch: Dispatch): ExpertResults {
  const byName = madeValues(model.graph);
  const fused = model.graph.nodes.find(({ name }) => name === `moeq/${id}/fused`);
  if (fused) {
    const pairs = { tokens: new Value('tokens'), experts: new Value('experts') };
    return {
      results: fusedResults(builder(model.graph, `moeq/${id}`), fused, pairs, experts.length),
      bindings: [
        [pairs.tokens, dispatch.tokens],
        [pairs.experts, dispatch.experts],
      ],
    };
  }
  const bindings = Object.entries({
    pair_tokens: dispatch.tokens,
    pair_experts: dispatch.experts,
    pair_weights: dispatch.weights,
    counts: dispatch.counts,
  }).flatMap(([name, to]): [Value, Value][] => {
    const from = byName.get(`moeq/${id}/${name}`);
    return from ? [[from, to]] : [];
  });
  return { results: byName.get(`moeq/${id}/results`) ?? missing(model, id), bindings };
}

function missing({ path }: Model, layer: string): never {
  throw new Fault({
    code: 'RECORD_INVALID',
    what: `the model does not show what the experts of layer ${layer} compute`,
    where: path,
    remedy: 'verify a model as moeq wrote it',
  });
}
