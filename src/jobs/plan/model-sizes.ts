import { vocabularySize } from '../../data/vocabulary.ts';
import { expertWeights, linearsOf } from '../../moe/ffn-experts.ts';
import type { Expert } from '../../moe/moe-layer.ts';
import type { PreparedModel } from '../../moe/prepare-model.ts';
import { parametersOf } from '../../onnx/model.ts';
import { countOf } from '../../tensor/dtype.ts';
import type { RunSize } from './estimate.ts';

/** Every weight but those of experts meets every token; of experts, the share that the router chooses. */
export function runSize({ model, layers }: PreparedModel, byLayer: boolean): RunSize {
  const all = parametersOf(model);
  const experts = layers.map(expertWeights);
  const idle = layers.map(({ router: { topK, experts: count } }, i) =>
    topK === null ? 0 : experts[i] * (1 - topK / count),
  );
  const visited = layers.map(({ hidden, intermediate, router: { topK, experts: count } }) => {
    return (topK ?? count) * (hidden + 2 * intermediate);
  });
  return {
    inMemory: byLayer ? Math.max(...experts) : all,
    perToken: all - sum(idle),
    experts: sum(layers.map((layer) => layer.experts.length)),
    activations: sum(visited) + (vocabularySize(model) ?? 0),
  };
}

export function storedBytes(expert: Expert): number {
  const bytes = linearsOf(expert).map(({ weight: { rows, cols, source } }) => {
    return (rows * cols * source.byteLength) / countOf(source.shape);
  });
  return sum(bytes);
}

export function expertBytes({ layers }: PreparedModel): number {
  return sum(layers.flatMap(({ experts }) => experts).map(storedBytes));
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
