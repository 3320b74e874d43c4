import * as z from 'zod';

/** `format` of the strings that name files; the loader resolves them against the file they are written in. */
export const pathFormat = 'path';

/** A path, or a pattern of paths. */
export function pathString() {
  return z.string().min(1).meta({ format: pathFormat });
}
