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
    value: overrides.reduce<unknown>((value, override) => {
      requireKeys(value, override);
      return setAt(value, override.path, override.value);
    }, document.value),
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

function requireKeys(value: unknown, { path, flag }: Override): void {
  let at = value;
  for (const [depth, key] of path.entries()) {
    if (at === undefined || at === null) return;
    if (typeof at !== 'object') {
      const outer = path.slice(0, depth).join('.');
      throw new Fault({
        code: 'CONFIG_SET',
        what: `${outer} is ${JSON.stringify(at)}, which has no keys`,
        where: flag,
        remedy: `set ${outer} as a whole, or write out in the file what it stands for`,
      });
    }
    at = Object.hasOwn(at, key) ? (at as Record<string, unknown>)[key] : undefined;
  }
}

/** A copy of `value` with `leaf` at the path; what is on the way and no list becomes an object. */
function setAt(value: unknown, path: readonly string[], leaf: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return leaf;
  if (Array.isArray(value) && /^\d+$/.test(key) && Number(key) <= value.length) {
    return value.toSpliced(Number(key), 1, setAt(value[Number(key)], rest, leaf));
  }
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  const map = new Map<string, unknown>(entries);
  map.set(key, setAt(map.get(key), rest, leaf));
  return Object.fromEntries(map);
}

function fault(where: string, what: string, why?: string): Fault {
  const remedy = 'write for example --set group=32 or --set rounding.method=gptq';
  return new Fault({ code: 'CONFIG_SET', what, where, ...(why && { why }), remedy });
}
