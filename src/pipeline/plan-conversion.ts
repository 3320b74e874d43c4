import type { QuantizeConfig } from '../config/schema.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import { expertWeights } from '../moe/ffn-experts.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { ConversionPlan } from '../report/describe-conversion-plan.ts';
import { resultBytes } from './model-size.ts';
import { needsRecords } from './needs-records.ts';
import type { Conversion } from './open-conversion.ts';
import { openConversion } from './open-conversion.ts';
import { requireConvertible } from './require-convertible.ts';
import { boundedConfig } from './trials/bounded-config.ts';
import { variantsTried } from './trials/variants-tried.ts';

/**
 * Reads the model's graph and the records, refuses what would fail, and says what would be written; for estimates see
 * `resultBytes`.
 * @throws Fault those of `openConversion`, `prepareModel` and `requireConvertible`
 */
export function planConversion(conversion: Conversion): ConversionPlan {
  const { model: path, config } = conversion;
  const resolved = resolveTarget(config);
  const { output, ...records } = openConversion(conversion);
  const prepared = prepareModel(path, resolved.opset);
  requireConvertible(config, prepared, records);
  return {
    model: path,
    output,
    scheme: config.scheme,
    target: resolved.target,
    needsRecords: needsRecords(config),
    triesRecords: triesRecords(config, prepared, records.data !== null),
    layers: prepared.layers.map((layer) => ({
      id: layer.id,
      form: layer.form,
      experts: layer.experts.length,
      weights: expertWeights(layer),
      estimatedBytes: resultBytes(layer, resolved),
    })),
  };
}

function triesRecords(given: QuantizeConfig, { model }: PreparedModel, hasRecords: boolean): boolean {
  const { config } = boundedConfig(model, given, hasRecords);
  return variantsTried(config, hasRecords).length > 1 && !needsRecords(config);
}
