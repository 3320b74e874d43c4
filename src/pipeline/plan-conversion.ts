import { resolveTarget } from '../emit/resolve-target.ts';
import { prepareModel } from '../moe/prepare-model.ts';
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
 * Reads the model's graph and the records, refuses what would fail, and says what would be written; estimates count codes and one float16 scale per output channel.
 * @throws Fault SCHEME_TARGET, GROUP_TARGET for what cannot be written, and those of `openConversion`, `prepareModel` and
 *   `requireRouters`
 */
export function planConversion(conversion: Conversion): ConversionPlan {
  const { model: path, config } = conversion;
  const { target, scheme } = resolveTarget(config.target, config.scheme, config.group);
  refuseShift(config);
  const { output, data } = openConversion(conversion);
  const { bits } = scheme.weight;
  const storedBits = bits === 3 ? 4 : bits;
  const { layers } = prepareModel(path);
  if (data) requireRouters(config, layers, data.records);
  return {
    model: path,
    output,
    scheme: config.scheme,
    target,
    needsRecords: needsRecords(config),
    layers: layers.map(({ id, form, experts }) => {
      const linears = experts
        .flatMap(({ gate, up, down }) => [gate, up, down])
        .filter((linear) => linear !== null);
      const weights = linears.reduce((sum, { weight: { rows, cols } }) => sum + rows * cols, 0);
      const channels = linears.reduce((sum, { weight: { rows } }) => sum + rows, 0);
      return {
        id,
        form,
        experts: experts.length,
        weights,
        estimatedBytes: Math.ceil((weights * storedBits) / 8) + channels * 2,
      };
    }),
  };
}
