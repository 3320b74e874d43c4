import type { Options } from 'yargs';
import { loadConfig } from '../config/load-config.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import type { Override } from '../config/set.ts';
import { parseSet } from '../config/set.ts';

/** A flag that may be given several times, one value each. */
export function listOption(describe: string) {
  return {
    type: 'string',
    array: true,
    nargs: 1,
    default: [] as string[],
    describe,
  } as const satisfies Options;
}

/** Flags that several commands share. */
export const sharedOptions = {
  data: { type: 'string', describe: 'records: a .jsonl or .npz file, or a folder of them' },
  set: listOption('override a config key: key=value'),
  report: { type: 'string', describe: 'write report.json and report.html into this folder' },
  json: { type: 'boolean', default: false, describe: 'print one JSON document on standard output' },
} as const satisfies Record<string, Options>;

/** The config of a file, with flags that stand for keys and `--set` on top. */
export function configOf(
  file: string | undefined,
  flags: Record<string, string | undefined>,
  set: readonly string[],
): QuantizeConfig {
  const overrides: Override[] = Object.entries(flags)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ({ flag: `--${key} ${value}`, path: [key], value }));
  return loadConfig(file ?? null, [...overrides, ...set.map((text) => parseSet(text))]);
}
