import type { Balance } from '../../src/calibrate/balance-records.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import type { Report } from '../../src/report/report.ts';
import type { Row } from './plan.ts';
import type { Subject } from './subject.ts';
import { tryModel } from './try-model.ts';

/** What one line of a table tells of one model. */
export interface Figures {
  /** Mean exact match over the tasks; null for a model without tasks. */
  match: number | null;
  /** Perplexity of the quantized model over that of the reference; null without. */
  ratio: number | null;
  kl: number;
  /** Of the worst layer, cumulative. */
  agreement: number;
  /** Experts below the floor of balancing, in all layers; null where nothing was balanced. */
  belowFloor: { before: number; after: number; of: number } | null;
}

/** One conversion and one verification. */
export async function measure({ model, data }: Subject, { config, records }: Row): Promise<Figures> {
  const { calibration, evaluation } = data[records];
  const quantized = await quantizeModel(model, { records: calibration, pool: [] }, config);
  const report = await tryModel(model, quantized.model, evaluation, {});
  return { ...figuresOf(report), belowFloor: belowFloor(quantized.balance) };
}

function figuresOf({ output: { kl, perplexity }, tasks, layers }: Report): Omit<Figures, 'belowFloor'> {
  const matches = Object.values(tasks).map(({ quantized }) => quantized);
  return {
    match: matches.length > 0 ? matches.reduce((sum, value) => sum + value, 0) / matches.length : null,
    ratio: perplexity && perplexity.quantized / perplexity.reference,
    kl,
    agreement: Math.min(...layers.map(({ router }) => router.cumulative.topKAgreement)),
  };
}

function belowFloor(balance: Balance | null): Figures['belowFloor'] {
  if (!balance) return null;
  const result = { before: 0, after: 0, of: 0 };
  for (const { before, after } of balance.layers) {
    result.before += before.starved + before.unseen;
    result.after += after.starved + after.unseen;
    result.of += after.covered + after.starved + after.unseen;
  }
  return result;
}
