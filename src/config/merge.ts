/** Objects merged key by key, at any depth; where both are not objects the later one stands. */
export function merge<T extends object>(...layers: readonly T[]): T {
  return layers.reduce((below, above) => ({ ...below, ...overlay(below, above) }));
}

function overlay<T extends object>(below: T, above: T): Partial<T> {
  const merged: Partial<T> = { ...above };
  for (const key in above) {
    const [lower, upper] = [below[key], above[key]];
    if (isObject(lower) && isObject(upper)) merged[key] = merge(lower, upper);
  }
  return merged;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
