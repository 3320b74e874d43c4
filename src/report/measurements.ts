import type { Report, RouterMetrics } from './report.ts';

/** One figure of a report under the name that gates and `diff` use. */
export interface Measurement {
  /** Gate key, e.g. `topKAgreement`. Several measurements share a key that is taken per layer. */
  metric: string;
  /** Layer, expert or task it was taken at; empty for the whole model. */
  where: string;
  value: number;
  better: 'higher' | 'lower';
  /** A change a reader would care about: absolute, or a share of the earlier value. It ranks unlike metrics. */
  step: { absolute: number } | { relative: number };
}

type Kind = Pick<Measurement, 'better' | 'step'>;

const share: Kind = { better: 'higher', step: { absolute: 0.01 } };
const decibel: Kind = { better: 'higher', step: { absolute: 1 } };
const error: Kind = { better: 'lower', step: { relative: 0.1 } };
const ratio: Kind = { better: 'lower', step: { relative: 0.01 } };
const errorShare: Kind = { better: 'lower', step: { absolute: 0.01 } };

const routerKinds: [Exclude<keyof RouterMetrics, 'topKKl'>, Kind][] = [
  ['topKAgreement', share],
  ['exactSet', share],
  ['top1Agreement', share],
  ['mse', error],
  ['kl', error],
  ['weightL1', error],
  ['marginFlipRate', errorShare],
];

/** The metrics taken per layer or expert; a report without such layers measures none of them. */
export const layerMetricNames: readonly string[] = [
  ...routerKinds.map(([name]) => name),
  ...routerKinds.map(([name]) => `local.${name}`),
  'layer.sqnrDb',
  'expert.sqnrDb',
];

/** The metrics of the model as a whole; those of its tasks go by their names. */
export const modelMetricNames: readonly string[] = [
  'task.mean',
  'perplexityRatio',
  'output.kl',
  'output.top1Agreement',
  'output.sqnrDb',
  'size.quantizedBytes',
  'size.expertBitsPerWeight',
  'census.refused',
];

/** Every named figure of a report, in a fixed order; NaN for what was not measurable. Experts without a token have none. */
export function listMeasurements(report: Report): Measurement[] {
  return [
    ...taskMeasurements(report),
    ...outputMeasurements(report),
    ...report.layers.flatMap(layerMeasurements),
    ...sizeMeasurements(report),
  ];
}

function taskMeasurements({ tasks }: Report): Measurement[] {
  const scores = Object.entries(tasks).map(([name, { quantized }]) => ({ name, quantized }));
  const mean = scores.reduce((sum, { quantized }) => sum + quantized, 0) / scores.length;
  return [
    ...scores.map(({ name, quantized }) => ({
      metric: `task.${name}`,
      where: taskPlace(name),
      value: quantized,
      ...share,
    })),
    { metric: 'task.mean', where: '', value: mean, ...share },
  ];
}

/** Tells a task that is called `mean` from the mean of all. */
export function taskPlace(name: string): string {
  return name === 'mean' ? 'the task of this name' : '';
}

function outputMeasurements({ output }: Report): Measurement[] {
  const { reference, quantized } = output.perplexity ?? { reference: Number.NaN, quantized: Number.NaN };
  const perplexityRatio = reference < Infinity ? quantized / reference : Number.NaN;
  return [
    { metric: 'perplexityRatio', where: '', value: perplexityRatio, ...ratio },
    { metric: 'output.kl', where: '', value: output.kl, ...error },
    { metric: 'output.top1Agreement', where: '', value: output.top1Agreement, ...share },
    { metric: 'output.sqnrDb', where: '', value: output.sqnrDb, ...decibel },
  ];
}

function layerMeasurements({ id, router, experts, sqnrDb }: Report['layers'][number]): Measurement[] {
  return [
    ...routerMeasurements('', id, router.cumulative),
    ...routerMeasurements('local.', id, router.local),
    ...(sqnrDb === undefined ? [] : [{ metric: 'layer.sqnrDb', where: id, value: sqnrDb, ...decibel }]),
    ...experts
      .filter(({ tokens }) => tokens > 0)
      .map((expert) => ({
        metric: 'expert.sqnrDb',
        where: expertPlace(id, expert.id),
        value: expert.sqnrDb ?? Number.NaN,
        ...decibel,
      })),
  ];
}

function routerMeasurements(prefix: string, layer: string, metrics: RouterMetrics): Measurement[] {
  return routerKinds.map(([name, kind]) => ({
    metric: prefix + name,
    where: layer,
    value: metrics[name],
    ...kind,
  }));
}

function sizeMeasurements({ size, census }: Report): Measurement[] {
  const bits = size.expertBitsPerWeight ?? Number.NaN;
  const refused = census.reduce((sum, row) => sum + row.refused.length, 0);
  return [
    { metric: 'size.quantizedBytes', where: '', value: size.quantizedBytes, ...ratio },
    { metric: 'size.expertBitsPerWeight', where: '', value: bits, ...ratio },
    { metric: 'census.refused', where: '', value: refused, better: 'lower', step: { absolute: 1 } },
  ];
}

/** Names an expert so that its layer is told once, whether or not its id holds the layer's. */
export function expertPlace(layer: string, expert: string): string {
  return expert.startsWith(`${layer}.`) ? `expert ${expert}` : `${layer} expert ${expert}`;
}
