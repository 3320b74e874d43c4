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
