import * as z from 'zod';
import { pathFormat } from './path-string.ts';

/** A key of a schema: its path, with `*` for any key of a record and any item of a list. */
interface KnownKey {
  path: string[];
  isPath: boolean;
}

/** All keys of a schema, outer before inner. */
export function knownKeys(schema: z.core.$ZodType, path: string[] = []): KnownKey[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodUnion) return inner.options.flatMap((option) => knownKeys(option, path));
  const own = path.length === 0 ? [] : [{ path, isPath: isPathString(inner) }];
  if (inner instanceof z.ZodObject) {
    return [
      ...own,
      ...Object.entries(inner.shape).flatMap(([key, value]) => knownKeys(value, [...path, key])),
    ];
  }
  if (inner instanceof z.ZodRecord) return [...own, ...knownKeys(inner.valueType, [...path, '*'])];
  if (inner instanceof z.ZodArray) return [...own, ...knownKeys(inner.element, [...path, '*'])];
  return own;
}

/** The schema inside the wrappers that give a default or allow absence. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  const wrapped =
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodOptional;
  return wrapped ? unwrap(schema.unwrap()) : schema;
}

function isPathString(schema: z.core.$ZodType): boolean {
  return schema instanceof z.ZodType && schema.meta()?.['format'] === pathFormat;
}
