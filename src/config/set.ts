import { isScalar, parseDocument } from 'yaml';
import { Fault } from '../fault.ts';
import type { ConfigDocument } from './config-document.ts';

/** A value that a flag gives for a key. */
export interface Override {
  /** The flag as the user wrote it, such as `--set group=32`; Faults name it. */
  flag: string;
  path: string[];
  value: unknown;
}

/**
 * Reads `key=value`, the argument of `--set` and its like. The key is a dotted path. The value is a YAML scalar, or a
 * YAML list or map in brackets; text that is no YAML scalar stands for itself.
 * @throws Fault CONFIG_SET when there is no key or the brackets are not closed.
 */
export function parseSet(assignment: string, flagName = '--set'): Override {
  const flag = `${flagName} ${assignment}`;
  const equals = assignment.indexOf('=');
  const path = assignment.slice(0, Math.max(equals, 0)).split('.');
  if (path.some((key) => key.trim() === '')) throw fault(flag, 'a flag of this kind is key=value');
  return { flag, path, value: parseValue(assignment.slice(equals + 1).trim(), flag) };
}

/**
 * The document with the overrides in order; their places are the flags.
 * @throws Fault CONFIG_SET for a key inside of what has none, such as the path of a recipe: it would be lost.
 */
export function applyOverrides(document: ConfigDocument, overrides: readonly Override[]): ConfigDocument {
  const latestFirst = overrides.toReversed();
  return {
    value: overrides.reduce<unknown>((value, override) => setAt(value, override), document.value),
    whereOf(path) {
      const origin = latestFirst.find((override) => override.path.every((key, i) => key === String(path[i])));
      return origin?.flag ?? document.whereOf(path);
    },
  };
}

function parseValue(text: string, flag: string): unknown {
  const document = parseDocument(text, { prettyErrors: false });
  const [error] = document.errors;
  if (/^[[{]/.test(text)) {
    if (error) throw fault(flag, 'the value is no valid YAML', error.message);
    return document.toJS();
  }
  const { contents } = document;
  const whole = isScalar(contents) && contents.range?.[1] === text.length;
  return !error && (whole || text === '') ? document.toJS() : text;
}

/** A copy of `value` with an override in it, from the key at `depth` on; what is missing on the way becomes an object. */
function setAt(value: unknown, override: Override, depth = 0): unknown {
  const { path, value: leaf } = override;
  if (depth === path.length) return leaf;
  const key = path[depth];
  if (Array.isArray(value) && /^\d+$/.test(key) && Number(key) <= value.length) {
    return value.toSpliced(Number(key), 1, setAt(value[Number(key)], override, depth + 1));
  }
  if (value !== null && value !== undefined && typeof value !== 'object')
    throw keyless(value, override, depth);
  const map = new Map<string, unknown>(Object.entries(value ?? {}));
  map.set(key, setAt(map.get(key), override, depth + 1));
  return Object.fromEntries(map);
}

function keyless(value: unknown, { path, flag }: Override, depth: number): Fault {
  const outer = path.slice(0, depth).join('.');
  return new Fault({
    code: 'CONFIG_SET',
    what: `${outer} is ${JSON.stringify(value)}, which has no keys`,
    where: flag,
    remedy: `set ${outer} as a whole, or write out in the file what it stands for`,
  });
}

function fault(where: string, what: string, why?: string): Fault {
  const remedy = 'write for example --set group=32 or --set rounding.method=gptq';
  return new Fault({ code: 'CONFIG_SET', what, where, ...(why && { why }), remedy });
}
