import { prepareModel } from '../moe/prepare-model.ts';
import { schemeOf } from '../quantize/scheme.ts';
import { needsRecords } from './needs-records.ts';
import type { Conversion } from './convert.ts';
import { outputOf } from './convert.ts';

/** What a conversion would do, without doing it. */
export interface ConversionPlan {
  model: string;
  output: string;
  scheme: string;
  target: string;
  needsRecords: boolean;
  layers: { id: string; form: string; experts: number; weights: number; estimatedBytes: number }[];
}

/** Reads the model's graph and says what would be written; estimates count codes and one float16 scale per output channel. */
export function planConversion(conversion: Conversion): ConversionPlan {
  const { model: path, config } = conversion;
  const { weight } = schemeOf(config.scheme);
  const storedBits = weight.bits === 3 ? 4 : weight.bits;
  return {
    model: path,
    output: outputOf(conversion),
    scheme: config.scheme,
    target: config.target,
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
