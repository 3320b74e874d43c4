import { Value } from './value.ts';

/** All values in a nested record. */
export function* valuesIn(item: unknown): Generator<Value> {
  if (item instanceof Value) yield item;
  else if (typeof item === 'object' && item !== null) {
    for (const part of Object.values(item)) yield* valuesIn(part);
  }
}
