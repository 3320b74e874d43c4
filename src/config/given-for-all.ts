import { Fault } from '../fault.ts';
import { sharedKeys } from './batch-schema.ts';
import { emptyDocument } from './config-document.ts';
import type { Settings } from './schema.ts';
import { applyOverrides, type Override } from './set.ts';

/**
 * What the flags of a batch say of all its jobs, which stands above whatever is said of some.
 * @throws Fault CONFIG_SET where other flags give the same key to some jobs: it would be passed over.
 */
export function givenForAll(overrides: readonly Override[]): Settings {
  const shared = overrides.filter(({ path }) => sharedKeys.includes(path[0]));
  for (const { path, flag } of shared) {
    const other = overrides.find((each) => meet(path, pathInJob(each)));
    if (other) throw contradiction(other.flag, flag);
  }
  return applyOverrides(emptyDocument, shared).value as Settings;
}

/** The key that a flag for one model, recipe or override gives; empty for other flags. */
function pathInJob({ path }: Override): string[] {
  const depths: Partial<Record<string, number>> = { models: 2, recipes: 2, overrides: 3 };
  return path.slice(depths[path[0]] ?? path.length);
}

/** Whether two paths are one, or one leads into the other. */
function meet(a: readonly string[], b: readonly string[]): boolean {
  return b.length > 0 && a.slice(0, b.length).every((key, i) => key === b[i]);
}

function contradiction(flag: string, other: string): Fault {
  return new Fault({
    code: 'CONFIG_SET',
    what: 'two flags give one key',
    where: flag,
    why: `${other} holds for all jobs`,
    remedy: 'leave one of the two out',
  });
}
