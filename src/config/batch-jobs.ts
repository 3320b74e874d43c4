import { basename, dirname } from 'node:path';
import type { BatchFile } from './batch-schema.ts';
import { defaultNaming } from './batch-schema.ts';
import type { QuantizeConfig, Settings } from './schema.ts';
import { configSchema } from './schema.ts';

/** A model of a batch with the settings that are special to it. */
export interface BatchModel {
  path: string;
  settings: Settings;
}

/** One model quantized by one recipe. */
export interface BatchJob {
  /** Unique in the batch; results are named after it. */
  name: string;
  model: string;
  recipe: string;
  config: QuantizeConfig;
}

/** A pattern of models and recipes; what is left out matches all. */
interface Match {
  model?: string | undefined;
  recipe?: string | undefined;
}

/**
 * The jobs of a batch, models in order and the recipes of each in order. A job's settings are, from the weakest to the
 * strongest, those of the batch, of the recipe, of the model, of the first override that matches, and what the command
 * line gives for all.
 */
export function batchJobs(
  batch: BatchFile,
  models: readonly BatchModel[],
  recipes: readonly (readonly [string, Settings])[],
  given: Settings,
): BatchJob[] {
  const {
    data,
    tokenizer,
    verify,
    gates,
    include = [{}],
    exclude = [],
    overrides = [],
    naming = defaultNaming,
  } = batch;
  const common: Settings = { data, tokenizer, verify, gates };
  return models.flatMap((model) =>
    recipes.flatMap(([recipe, recipeSettings]): BatchJob[] => {
      const matches = (rule: Match): boolean => isMatch(rule, model.path, recipe);
      if (!include.some(matches) || exclude.some(matches)) return [];
      const special = overrides.find(matches)?.settings ?? {};
      const written = configSchema.parse(merge(common, recipeSettings, model.settings, special));
      // Apart, for limits can be written in two ways: as parsed they have one.
      const config = configSchema.parse(merge<Settings>(written, given));
      return [{ name: nameOf(model.path, recipe, naming), model: model.path, recipe, config }];
    }),
  );
}

function isMatch({ model = '*', recipe = '*' }: Match, path: string, recipeName: string): boolean {
  return matchesPattern(stemOf(path), model) && matchesPattern(recipeName, recipe);
}

function matchesPattern(name: string, pattern: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(name);
}

function nameOf(path: string, recipe: string, naming: string): string {
  const folder = basename(dirname(path));
  const values: Record<string, string> = { model: stemOf(path), recipe, folder };
  return naming.replaceAll(/\{(\w+)\}/g, (_, key: string) => values[key]);
}

function stemOf(path: string): string {
  return basename(path, '.onnx');
}

/** Objects merged key by key, at any depth; where both are not objects the later one stands. */
function merge<T extends object>(...layers: readonly T[]): T {
  return layers.reduce((below, above) => ({ ...below, ...overlay(below, above) }));
}

function overlay<T extends object>(below: T, above: T): Partial<T> {
  const merged: Partial<T> = { ...above };
  for (const key in above) {
    const [lower, upper] = [below[key], above[key]];
    if (isObject(lower) && isObject(upper)) merged[key] = merge(lower, upper);
  }
  return merged;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
