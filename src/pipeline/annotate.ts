import type { QuantizeConfig } from '../config/schema.ts';
import { executionOf } from '../emit/execution-of.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import { isRotated } from '../emit/rotated-form.ts';
import { layerRecord, writeModelRecord } from '../moe/model-record.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { version } from '../version.ts';
import type { WrittenModel } from './write-experts.ts';

/**
 * Writes into the model what made it and where its layers are, as verification needs it; again whenever values get
 * other names.
 */
export function annotate(
  { model, layers }: PreparedModel,
  config: QuantizeConfig,
  resolved: ResolvedTarget,
  {
    calibration,
    rotation,
    affinity,
    clipped,
    dense,
  }: Pick<WrittenModel, 'calibration' | 'rotation' | 'affinity' | 'clipped' | 'dense'>,
): void {
  const hasFewRows = model.graph.nodes.some(
    ({ name }) => name.startsWith('moeq/') && name.endsWith('/are_few'),
  );
  writeModelRecord(model, {
    version,
    recipe: recipeOf(config),
    execution: executionOf(resolved, hasFewRows),
    layers: layers.map((layer, i) => ({
      ...layerRecord(layer, calibration ? calibration.stats[i].experts.map(({ tokens }) => tokens) : null),
      ...(isRotated(rotation[i]) && { rotation: rotation[i] }),
      ...(affinity[i] && { affinity: true }),
      ...(clipped && { activationClips: clipped[i].clips }),
    })),
    ...(dense && { refused: dense.refused }),
  });
}

/** What of a config makes the model. Paths, threads and what is measured do not, and so must not change the file. */
function recipeOf(config: QuantizeConfig): Record<string, unknown> {
  const {
    data: _data,
    tokenizer: _tokenizer,
    verify: _verify,
    gates: _gates,
    threads: _threads,
    ...recipe
  } = config;
  const { calibration } = recipe;
  return { ...recipe, calibration: { ...calibration, balance: { ...calibration.balance, pool: null } } };
}
