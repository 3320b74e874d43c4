import * as z from 'zod';
import { pathString } from './path-string.ts';
import { configSchema } from './schema.ts';

/** What models come with and batches share: keys of the quantization config. */
const shared = configSchema.pick({ data: true, tokenizer: true, verify: true, gates: true }).partial().shape;

export const sharedKeys: readonly string[] = Object.keys(shared);

const model = z.union([
  pathString().describe('Path or glob of models.'),
  z.strictObject({ path: pathString().describe('Path or glob of models.'), ...shared }),
]);

const pattern = () => z.string().default('*').describe('A name; * stands for any text.');

const match = z.strictObject({ model: pattern(), recipe: pattern() });

/** Names of jobs where the batch gives none. */
export const defaultNaming = '{model}.{recipe}';

/** A batch file: every model is quantized by every recipe. */
export const batchSchema = z.strictObject({
  output: pathString().describe('Folder that receives the results.'),
  models: z.array(model).min(1).describe('Models, by path or glob, with what is special to them.'),
  recipes: z
    .record(
      z
        .string()
        .regex(
          /^(?!\.+$)[\w.-]+$/,
          'a recipe is named by letters, digits, "_", "-" and ".", not by dots alone',
        ),
      z.union([pathString().describe('A config file.'), configSchema]),
    )
    .refine((recipes) => Object.keys(recipes).length > 0, 'there is no recipe')
    .describe('Quantization configs by name, each a file or written out.'),
  ...shared,
  include: z
    .array(match)
    .default([{ model: '*', recipe: '*' }])
    .describe('Only pairs that match one of these.'),
  exclude: z.array(match).default([]).describe('No pair that matches one of these.'),
  overrides: z
    .array(match.extend({ settings: configSchema }))
    .default([])
    .describe('Config keys for the pairs that match; the first that matches wins.'),
  naming: z
    .string()
    .regex(/^([^{}]|\{(model|recipe|folder)\})+$/, 'the placeholders are {model}, {recipe} and {folder}')
    .default(defaultNaming)
    .describe(
      'Name of a job and its results in the output folder: {model} is the file without .onnx, {folder} the folder it is in.',
    ),
  jobs: z.int().min(1).default(1).describe('Jobs that run at a time.'),
  threads: z
    .union([z.literal('auto'), z.int().min(1)])
    .default('auto')
    .describe('Threads of all jobs together; auto takes the cores.'),
  memory: z
    .union([z.literal('auto'), z.number().positive()])
    .default('auto')
    .describe('Memory of all jobs together, in GB; auto takes what is free.'),
  stopOnFailure: z.boolean().default(false).describe('Start no further job once one has failed.'),
});

/** A batch file as it is written: keys that were left out are absent. */
export type BatchFile = z.input<typeof batchSchema>;
