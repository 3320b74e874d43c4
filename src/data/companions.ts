import type { Feed, ModelInput } from './model-input.ts';
import { allocate, generate, type NumericType } from './numeric-array.ts';

/** Makes an input from the lengths of a batch's rows and the length they are padded to. */
type Companion = (lengths: readonly number[], sequence: number) => Feed;

/** Value at a position of a row of `length` tokens. */
const perPosition: Record<string, (position: number, length: number) => number> = {
  attention_mask: (position, length) => (position < length ? 1 : 0),
  position_ids: (position) => position,
  token_type_ids: () => 0,
};

/** True for an input that has one value for every position, by its name. */
export function isPerPosition(input: ModelInput): boolean {
  return Object.hasOwn(perPosition, input.name) && input.shape.length === 2;
}

/**
 * How to fill an input that follows from the tokens alone, or null when data must give it: `attention_mask`,
 * `position_ids` and `token_type_ids` of shape [batch, sequence], and the `past…` key and value caches
 * [batch, heads, past, width], which are empty: zero elements along their one dynamic dimension.
 */
export function companionOf(input: ModelInput, dtype: NumericType): Companion | null {
  if (isPerPosition(input)) return (lengths, sequence) => positions(input.name, dtype, lengths, sequence);
  if (!input.name.startsWith('past') || input.shape.length !== 4) return null;
  const [, ...inner] = input.shape;
  if (inner.filter((dim) => typeof dim !== 'number').length !== 1) return null;
  const dims = inner.map((dim) => (typeof dim === 'number' ? dim : 0));
  return (lengths) => ({ dtype, dims: [lengths.length, ...dims], data: allocate(dtype, 0) });
}

function positions(name: string, dtype: NumericType, lengths: readonly number[], sequence: number): Feed {
  const valueOf = (i: number): number => perPosition[name](i % sequence, lengths[Math.floor(i / sequence)]);
  return {
    dtype,
    dims: [lengths.length, sequence],
    data: generate(dtype, lengths.length * sequence, valueOf),
  };
}
