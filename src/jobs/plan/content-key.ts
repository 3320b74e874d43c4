import { createHash } from 'node:crypto';

/** A key that is equal for equal parts: SHA-256 over JSON with sorted object keys. */
export function contentKey(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts, sortKeys)).digest('hex');
}

function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
