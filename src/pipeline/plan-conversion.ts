import { resolveTarget } from '../emit/resolve-target.ts';
import { expertWeights } from '../moe/ffn-experts.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { resultBytes } from './model-size.ts';
import { needsRecords } from './needs-records.ts';
import type { Conversion } from './open-conversion.ts';
import { openConversion } from './open-conversion.ts';
import { requireConvertible } from './require-convertible.ts';

/** What a conversion would do, without doing it. */
export interface ConversionPlan {
  model: string;
  output: string;
  scheme: string;
  target: string;
  needsRecords: boolean;
  layers: { id: string; form: string; experts: number; weights: number; estimatedBytes: number }[];
}

/**
 * Reads the model's graph and the records, refuses what would fail, and says what would be written; for estimates see
 * `resultBytes`.
 * @throws Fault those of `openConversion`, `prepareModel` and `requireConvertible`
 */
export function planConversion(conversion: Conversion): ConversionPlan {
  const { model: path, config } = conversion;
  const resolved = resolveTarget(config.target, config.scheme, config.group);
  const { output, ...records } = openConversion(conversion);
  const prepared = prepareModel(path, resolved.opset);
  requireConvertible(config, prepared, records);
  return {
    model: path,
    output,
    scheme: config.scheme,
    target: resolved.target,
    needsRecords: needsRecords(config),
    layers: prepared.layers.map((layer) => ({
      id: layer.id,
      form: layer.form,
      experts: layer.experts.length,
      weights: expertWeights(layer),
      estimatedBytes: resultBytes(layer, resolved),
    })),
  };
}
