import { Fault } from '../../fault.ts';

/** Limits by metric, as given with `--min` and `--max` or under `gates:` in a config. */
export type Limits = Record<string, number>;

/**
 * Reads `key=value` pairs, e.g. `topKAgreement=0.9`.
 * @throws Fault `GATE_SYNTAX` for a pair without a key or with a value that is not a finite number, and for a
 * key given twice with different values.
 */
export function parseLimits(pairs: readonly string[]): Limits {
  const limits: Limits = {};
  for (const pair of pairs) {
    const split = pair.lastIndexOf('=');
    const key = pair.slice(0, Math.max(split, 0)).trim();
    const text = pair.slice(split + 1).trim();
    const value = Number(text);
    if (key === '' || text === '' || !Number.isFinite(value)) throw syntaxFault(pair, 'it is not key=number');
    if (Object.hasOwn(limits, key) && limits[key] !== value)
      throw syntaxFault(pair, `${key} is ${limits[key]} already`);
    limits[key] = value;
  }
  return limits;
}

function syntaxFault(pair: string, why: string): Fault {
  return new Fault({
    code: 'GATE_SYNTAX',
    what: `the limit "${pair}" cannot be read`,
    why,
    remedy: 'write it as topKAgreement=0.9',
  });
}
