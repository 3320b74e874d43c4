import { resolveTarget } from '../emit/resolve-target.ts';
import { expertWeights } from '../moe/ffn-experts.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { resultBytes } from './model-size.ts';
import { needsRecords } from './needs-records.ts';
import type { Conversion } from './open-conversion.ts';
import { openConversion } from './open-conversion.ts';
import { refuseShift } from './refuse-shift.ts';
import { requireRouters } from './routers/settle-routers.ts';

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
 * @throws Fault SCHEME_TARGET, GROUP_TARGET for what cannot be written, and those of `openConversion`, `prepareModel` and
 *   `requireRouters`
 */
export function planConversion(conversion: Conversion): ConversionPlan {
  const { model: path, config } = conversion;
  const resolved = resolveTarget(config.target, config.scheme, config.group);
  refuseShift(config);
  const { output, data } = openConversion(conversion);
  const { layers } = prepareModel(path);
  if (data) requireRouters(config, layers, data.records);
  return {
    model: path,
    output,
    scheme: config.scheme,
    target: resolved.target,
    needsRecords: needsRecords(config),
    layers: layers.map((layer) => ({
      id: layer.id,
      form: layer.form,
      experts: layer.experts.length,
      weights: expertWeights(layer),
      estimatedBytes: resultBytes(layer, resolved),
    })),
  };
}
