import type { Model } from '../onnx/model.ts';
import type { NumericData, NumericType } from './numeric-array.ts';

/** An input as the model declares it; a dimension is a number, a symbol, or null when nothing is known. */
export interface ModelInput {
  name: string;
  dtype: string;
  shape: (number | string | null)[];
}

/** What an input is fed with. */
export interface Feed {
  dtype: NumericType;
  dims: number[];
  data: NumericData;
}

/** What a model wants to be fed: its graph inputs that are no constants. */
export function declaredInputs({ graph }: Model): ModelInput[] {
  return graph.inputs
    .filter((value) => !value.tensor)
    .map((value) => ({ name: value.name, dtype: value.dtype ?? 'unknown', shape: value.shape ?? [] }));
}
