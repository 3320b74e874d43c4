import { prepareModel } from '../moe/prepare-model.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import { requireKnownGates } from '../report/gate-keys.ts';
import { needsRecords } from './needs-records.ts';
import type { Conversion } from './convert.ts';
import { outputOf } from './convert.ts';
import { refuseShift } from './refuse-shift.ts';

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
 * Reads the model's graph and says what would be written; estimates count codes and one float16 scale per output channel.
 * @throws Fault GATE_UNKNOWN, and SCHEME_TARGET, GROUP_TARGET for what cannot be written
 */
export function planConversion(conversion: Conversion): ConversionPlan {
  const { model: path, config } = conversion;
  const { target, scheme } = resolveTarget(config.target, config.scheme, config.group);
  refuseShift(config);
  requireKnownGates(config.gates);
  const { bits } = scheme.weight;
  const storedBits = bits === 3 ? 4 : bits;
  return {
    model: path,
    output: outputOf(conversion),
    scheme: config.scheme,
    target,
    needsRecords: needsRecords(config),
    layers: prepareModel(path).layers.map(({ id, form, experts }) => {
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
