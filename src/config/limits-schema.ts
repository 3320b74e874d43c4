import * as z from 'zod';

/** Limits by report path; `task.add: 0.8` may be written nested as `task: { add: 0.8 }`. */
export interface LimitTree {
  [key: string]: number | LimitTree;
}

const tree: z.ZodType<LimitTree, LimitTree> = z
  .lazy(() => z.record(z.string(), z.union([z.number(), tree])))
  .meta({ id: 'limits' });

/** Limits of gates; the parsed form has one dotted report path per limit. */
export const limitsSchema = tree.transform((limits) => Object.fromEntries(flatten(limits, '')));

function flatten(limits: LimitTree, prefix: string): [string, number][] {
  return Object.entries(limits).flatMap(([key, value]): [string, number][] =>
    typeof value === 'number' ? [[prefix + key, value]] : flatten(value, `${prefix}${key}.`),
  );
}
