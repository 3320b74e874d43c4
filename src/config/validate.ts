import type * as z from 'zod';
import type { FaultRecord } from '../fault.ts';
import { Fault } from '../fault.ts';
import { allowedValues } from './allowed-values.ts';
import type { ConfigDocument } from './config-document.ts';
import { knownKeys } from './known-keys.ts';
import { nearestWord } from './nearest-word.ts';

type Issue = z.core.$ZodIssue;
type Problem = FaultRecord & { where: string };

/**
 * Checks a document against its schema and fills in the defaults.
 * @throws Fault CONFIG_UNKNOWN_KEY, CONFIG_MISSING_KEY or CONFIG_VALUE: the first problem in full, the others in `why`.
 */
export function validate<S extends z.ZodType>(schema: S, document: ConfigDocument): z.output<S> {
  const result = schema.safeParse(document.value, { reportInput: true });
  if (result.success) return result.data;
  const issues = result.error.issues.map(mostSpecific);
  const [first, ...others] = issues
    .flatMap((issue) => problemsOf(issue, schema, document))
    .toSorted(typosFirst);
  const also = others.map(({ what, where }) => `also: ${what} (${where})`);
  throw new Fault({ ...first, why: [first.why, ...also].filter(Boolean).join('\n         ') });
}

/** {@link validate} for documents that are merged with others before their defaults are filled in. */
export function assertValid<S extends z.ZodType>(
  schema: S,
  document: ConfigDocument,
): asserts document is ConfigDocument & { value: z.input<S> } {
  validate(schema, document);
}

/** A misspelt key is what the user should see first: it may be the reason for the other problems. */
function typosFirst(a: Problem, b: Problem): number {
  return Number(b.code === 'CONFIG_UNKNOWN_KEY') - Number(a.code === 'CONFIG_UNKNOWN_KEY');
}

/** Of the alternatives of a union, the one that got deepest: that is what the user meant to write. */
function mostSpecific(issue: Issue): Issue {
  if (issue.code !== 'invalid_union') return issue;
  const depth = ({ code, path }: Issue) => path.length + (code === 'unrecognized_keys' ? 1 : 0);
  const deepest = issue.errors.flat().toSorted((a, b) => depth(b) - depth(a))[0];
  if (!deepest || depth(deepest) === 0) return issue;
  return mostSpecific({ ...deepest, path: [...issue.path, ...deepest.path] });
}

function problemsOf(issue: Issue, schema: z.ZodType, document: ConfigDocument): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownKey([...issue.path, key], schema, document));
  }
  return [wrongValue(issue, schema, document)];
}

function unknownKey(path: PropertyKey[], schema: z.ZodType, document: ConfigDocument): Problem {
  const key = String(path.at(-1));
  const known = knownKeys(schema).map((entry) => entry.path);
  const siblings = [
    ...new Set(known.filter((other) => isSibling(other, path)).map((other) => other.at(-1)!)),
  ];
  const elsewhere = known.find((other) => other.at(-1) === key && !other.includes('*'));
  const meant = nearestWord(key, siblings) ?? elsewhere?.join('.');
  return {
    code: 'CONFIG_UNKNOWN_KEY',
    what: `there is no key ${dotted(path)}`,
    where: document.whereOf(path),
    remedy: meant ? `did you mean ${meant}?` : `the keys here are ${siblings.join(', ')}`,
  };
}

function isSibling(other: readonly string[], path: readonly PropertyKey[]): boolean {
  return other.length === path.length && other.slice(0, -1).every((key, i) => key === '*' || key === path[i]);
}

function wrongValue(issue: Issue, schema: z.ZodType, document: ConfigDocument): Problem {
  const key = dotted(issue.path) || 'the config';
  const where = document.whereOf(issue.path);
  const allowed = allowedValues(schema, issue.path);
  if (issue.input === undefined) {
    const remedy = allowed ? `give ${key}: ${allowed}` : `give ${key}`;
    return { code: 'CONFIG_MISSING_KEY', what: `${key} is missing`, where, why: issue.message, remedy };
  }
  const options = issue.code === 'invalid_value' ? issue.values.map(String) : [];
  const meant = typeof issue.input === 'string' ? nearestWord(issue.input, options) : undefined;
  const remedy = meant ? `did you mean ${meant}?` : allowed && `give ${allowed}`;
  return {
    code: 'CONFIG_VALUE',
    what: `${key} cannot be ${JSON.stringify(issue.input)}`,
    where,
    why: explain(issue),
    ...(remedy && { remedy }),
  };
}

function explain(issue: Issue): string {
  if (issue.code === 'invalid_key') return issue.issues[0].message;
  if (issue.code !== 'invalid_union') return issue.message;
  return issue.errors.map(([error]) => error.message).join('; or: ');
}

function dotted(path: readonly PropertyKey[]): string {
  return path.map(String).join('.');
}
