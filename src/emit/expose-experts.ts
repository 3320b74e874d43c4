import { Fault } from '../fault.ts';
import type { LayerRecord } from '../moe/model-record.ts';
import { expertOutput } from '../moe/model-record.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { fusedResults } from './qmoe-layer.ts';
import { splitByExpert } from './split-by-expert.ts';

/** Where an expert's work can be seen in the new graph. */
export interface EmittedExpert {
  id: string;
  /** Rows of the tokens it receives, [n]. */
  rows: Value;
  /** Its result [n, hidden], before a routing weight on the output. */
  output: Value;
}

/**
 * Gives the results of each expert of a written model a value of its own, named `expertOutput(id)`. They are not in
 * the file: ONNX Runtime would compute them although nothing reads them.
 * @throws Fault RECORD_INVALID when the model lacks the values its record speaks of
 */
export function exposeExperts(model: Model, layers: readonly LayerRecord[]): void {
  const made = model.graph.nodes.flatMap((node) => node.outputs);
  const byName = new Map(made.filter((value) => value !== null).map((value) => [value.name, value]));
  for (const { id, experts } of layers) {
    const b = builder(model.graph, `moeq/${id}`);
    const find = (name: string): Value => byName.get(`moeq/${id}/${name}`) ?? missing(model, id, name);
    const fused = model.graph.nodes.find(({ name }) => name === `moeq/${id}/fused`);
    const { results, counts } = fused
      ? fusedResults(b, fused, find('routing'), experts.length)
      : { results: find('results'), counts: find('counts') };
    nameResults(b, results, counts, experts);
  }
}

/** Cuts the results [S, hidden] of a layer into those of its experts. */
export function nameResults(b: Builder, results: Value, counts: Value, experts: readonly string[]): Value[] {
  const outputs = splitByExpert(b, results, counts, experts.length);
  outputs.forEach((output, i) => (output.name = b.graph.uniqueName(expertOutput(experts[i]))));
  return outputs;
}

function missing(model: Model, layer: string, name: string): never {
  throw new Fault({
    code: 'RECORD_INVALID',
    what: `the model has no value ${name} of layer ${layer}`,
    where: model.path,
    remedy: 'verify a model as moeq wrote it',
  });
}
