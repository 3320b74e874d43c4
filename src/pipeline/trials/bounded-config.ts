import type { QuantizeConfig } from '../../config/schema.ts';
import type { Model } from '../../onnx/model.ts';
import { weightBytesOf } from '../../onnx/model.ts';
import { formatBytes } from '../../report/format.ts';
import { settledBy, variantName } from '../layer/variant.ts';
import { isByLayer } from '../model-size.ts';
import { variantsTried } from './variants-tried.ts';

export interface BoundedConfig {
  config: QuantizeConfig;
  /** What was left undone, and why; for the report. */
  notes: string[];
}

/**
 * A config whose open choices can be made in the memory at hand. `rotation.down` and `calibration.affinity` are
 * settled by running whole models on records, which a model that is calibrated layer by layer is too large for.
 * `auto` then takes the rotation and the weights that such trials choose in nearly all layers of language models, the
 * last variant. What the config asks for by name stays. Nothing is left undone where there are no records to settle it by.
 */
export function boundedConfig(model: Model, config: QuantizeConfig, hasRecords: boolean): BoundedConfig {
  if (!isByLayer(model, config.calibration.byLayer)) return { config, notes: [] };
  const variants = variantsTried(config, hasRecords);
  const variant = variants.at(-1)!;
  const untried = [
    ...(variant.down !== variants[0].down ? ['rotation.down'] : []),
    ...(variant.affinity !== variants[0].affinity ? ['calibration.affinity'] : []),
  ];
  const taken = `${untried.join(', ')}: auto took "${variantName(variant)}" untried`;
  const why = `a trial takes runs of the whole model, and with ${formatBytes(weightBytesOf(model))} of weights this one is calibrated layer by layer; set calibration.byLayer=never where memory allows it`;
  return {
    config: settledBy(config, variant),
    notes: hasRecords && variants.length > 1 ? [`${taken}, since ${why}`] : [],
  };
}
