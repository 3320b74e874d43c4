import type { QuantizeConfig } from '../config/schema.ts';
import { executionOf } from '../emit/execution-of.ts';
import { isRotated } from '../emit/forms/rotated-form.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import { layerRecord, writeModelRecord } from '../moe/model-record.ts';
import type { Role } from '../moe/roles.ts';
import { rolesIn } from '../moe/roles.ts';
import { version } from '../version.ts';
import type { WrittenModel } from './write-experts.ts';

/**
 * Writes into the model what made it and where its layers are, as verification needs it; again whenever values get
 * other names.
 */
export function annotate(
  { model, layers, dense }: WrittenModel,
  config: QuantizeConfig,
  resolved: ResolvedTarget,
): void {
  const sorted = model.graph.sortedNodes();
  const roles = layers.flatMap(({ layer }) => [...rolesIn(layer, sorted)]);
  const namesOf = (role: Role): string[] => roles.flatMap(([name, own]) => (own === role ? name : []));
  const hasFewRows = model.graph.nodes.some(
    ({ name }) => name.startsWith('moeq/') && name.endsWith('/are_few'),
  );
  writeModelRecord(model, {
    version,
    recipe: recipeOf(config),
    execution: executionOf(resolved, hasFewRows),
    layers: layers.map(({ layer, stats, methods, rotation, affinity }) => ({
      ...layerRecord(layer, stats && stats.experts.map(({ tokens }) => tokens)),
      methods,
      ...(isRotated(rotation) && { rotation }),
      ...(affinity && { affinity }),
    })),
    ...(dense && { refused: dense.refused }),
    roles: { router: namesOf('router'), shared: namesOf('shared') },
  });
}

/**
 * What of a config makes the model. Paths, threads, the seed, which nothing draws on, and what is measured do not, and so
 * must not change the file.
 */
function recipeOf(config: QuantizeConfig): Record<string, unknown> {
  const {
    data: _data,
    tokenizer: _tokenizer,
    verify: _verify,
    gates: _gates,
    threads: _threads,
    seed: _seed,
    ...recipe
  } = config;
  const { calibration } = recipe;
  return { ...recipe, calibration: { ...calibration, balance: { ...calibration.balance, pool: null } } };
}
