import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type * as z from 'zod';
import { Fault } from '../fault.ts';
import { emptyDocument, parseConfigDocument, type ConfigDocument } from './config-document.ts';
import { knownKeys } from './known-keys.ts';
import { applyOverrides, type Override } from './set.ts';

/**
 * A config file (null: none) with the overrides of the command line, not validated yet. Relative paths in the file are
 * meant from the file's folder and become so; those of overrides are meant from the working directory.
 * @param schema tells which keys are paths.
 * @throws Fault CONFIG_NOT_FOUND or CONFIG_SYNTAX.
 */
export function openDocument(
  schema: z.ZodType,
  file: string | null,
  overrides: readonly Override[] = [],
): ConfigDocument {
  const document = file === null ? emptyDocument : readDocument(schema, file);
  return applyOverrides(document, overrides);
}

function readDocument(schema: z.ZodType, file: string): ConfigDocument {
  const document = parseConfigDocument(readText(file), file);
  const folder = dirname(file);
  const paths = knownKeys(schema).filter(({ isPath }) => isPath);
  const unique = [...new Map(paths.map(({ path }) => [path.join('.'), path])).values()];
  return {
    ...document,
    value: unique.reduce((value, path) => resolveAt(value, path, folder), document.value),
  };
}

/** A copy of `value` whose strings at a path (`*`: any key or item) are resolved against a folder. */
function resolveAt(value: unknown, path: readonly string[], folder: string): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return typeof value === 'string' ? resolvePath(value, folder) : value;
  if (Array.isArray(value)) return key === '*' ? value.map((item) => resolveAt(item, rest, folder)) : value;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, inner]): [string, unknown] =>
    key === '*' || key === name ? [name, resolveAt(inner, rest, folder)] : [name, inner],
  );
  return Object.fromEntries(entries);
}

/** `bytes` is the one word that stands where a path may: it names the byte tokenizer. */
function resolvePath(path: string, folder: string): string {
  return path === '' || path === 'bytes' || isAbsolute(path) ? path : join(folder, path);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const what = 'the config cannot be read';
    const remedy = 'name a YAML or JSON file';
    throw Fault.because(cause, { code: 'CONFIG_NOT_FOUND', what, where: file, remedy });
  }
}
