import { taskPlace } from '../measurements.ts';
import type { RecordOutcomes } from '../report.ts';

/**
 * One metric of two reports, record by record. Its value in a report is `sum(values) / sum(weight)` over the
 * records, or the exponential of that.
 */
export interface PairedSeries {
  metric: string;
  where: string;
  before: Float64Array;
  after: Float64Array;
  weight: Float64Array;
  exponential: boolean;
}

const meanOverLayers = 'the mean of all layers';

/** Every metric that two sets of outcomes over the same records hold: tasks, perplexity, output KL and top-k agreement. */
export function pairSeries(before: RecordOutcomes, after: RecordOutcomes): PairedSeries[] {
  const tokens = Float64Array.from(before.tokens);
  return [
    ...taskSeries(before, after),
    ...perplexitySeries(before, after),
    plainSeries('output.kl', '', before.kl, after.kl, tokens),
    ...layerSeries('', 'cumulative', before, after, tokens),
    ...layerSeries('local.', 'local', before, after, tokens),
  ];
}

/** Tasks none of whose records has an answer, as in plain text, have no series. */
function taskSeries(before: RecordOutcomes, after: RecordOutcomes): PairedSeries[] {
  const [a, b] = [before, after].map(({ exactMatch }) => exactMatch.quantized);
  const answered = before.task.map((task, i) => (Number.isNaN(a[i]) || Number.isNaN(b[i]) ? null : task));
  const counts = before.tasks.map((_, task) => answered.filter((other) => other === task).length);
  const series = before.tasks.flatMap((name, task) => {
    const weight = Float64Array.from(answered, (other) => Number(other === task));
    return counts[task] === 0 ? [] : [plainSeries(`task.${name}`, taskPlace(name), a, b, weight)];
  });
  return [...series, ...taskMeanSeries(a, b, answered, counts)];
}

/** The unweighted mean over tasks: a record counts by one over the number of records of its task. */
function taskMeanSeries(
  a: number[],
  b: number[],
  answered: (number | null)[],
  counts: number[],
): PairedSeries[] {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const tasks = counts.filter((count) => count > 0).length;
  if (total === 0) return [];
  const share = answered.map((task) => (task === null ? 0 : total / (tasks * counts[task])));
  const [before, after] = [a, b].map((outcomes) =>
    outcomes.map((outcome, i) => (share[i] === 0 ? 0 : share[i] * outcome)),
  );
  const weight = Float64Array.from(answered, (task) => Number(task !== null));
  return [plainSeries('task.mean', '', before, after, weight)];
}

function perplexitySeries(before: RecordOutcomes, after: RecordOutcomes): PairedSeries[] {
  if (!before.nll || !after.nll) return [];
  const [a, b] = [before.nll, after.nll].map(({ reference, quantized }) =>
    quantized.map((nll, i) => nll - reference[i]),
  );
  const series = plainSeries('perplexityRatio', '', a, b, Float64Array.from(before.predicted));
  return [{ ...series, exponential: true }];
}

/** One series a layer, and their mean: where it falls, so does the worst layer, and less noise hides it. */
function layerSeries(
  prefix: string,
  key: 'local' | 'cumulative',
  before: RecordOutcomes,
  after: RecordOutcomes,
  tokens: Float64Array,
): PairedSeries[] {
  const metric = `${prefix}topKAgreement`;
  const [a, b] = [before, after].map(({ topKAgreement }) => topKAgreement.map((layer) => layer[key]));
  const layers = before.topKAgreement.map(({ layer }, i) => plainSeries(metric, layer, a[i], b[i], tokens));
  if (layers.length < 2) return layers;
  return [...layers, plainSeries(metric, meanOverLayers, meanOf(a), meanOf(b), tokens)];
}

function meanOf(layers: number[][]): number[] {
  return layers[0].map((_, i) => layers.reduce((sum, layer) => sum + layer[i], 0) / layers.length);
}

/** Records of weight 0 count as 0, whatever their outcome. */
function plainSeries(
  metric: string,
  where: string,
  before: number[],
  after: number[],
  weight: Float64Array,
): PairedSeries {
  const counted = (values: number[]) =>
    Float64Array.from(values, (value, i) => (weight[i] === 0 ? 0 : value));
  return { metric, where, before: counted(before), after: counted(after), weight, exponential: false };
}
