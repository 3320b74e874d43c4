import type { Model } from '../onnx/model.ts';
import type { ModelInput } from './model-input.ts';

/** What a model wants to be fed: its graph inputs that are no constants. */
export function declaredInputs({ graph }: Model): ModelInput[] {
  return graph.inputs
    .filter((value) => !value.tensor)
    .map((value) => ({ name: value.name, dtype: value.dtype ?? 'unknown', shape: value.shape ?? [] }));
}
