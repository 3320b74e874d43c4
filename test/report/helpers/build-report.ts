import { identicalDb } from '../../../src/report/format.ts';
import type {
  Calibration,
  LayerReport,
  RecordOutcomes,
  Report,
  RouterMetrics,
} from '../../../src/report/report.ts';
import { seededRandom } from './seeded-random.ts';

export interface ReportShape {
  layers?: number;
  experts?: number;
  topK?: number;
  tokens?: number;
  records?: number;
  tasks?: string[];
  /** Which quantized model is measured; the reference and the data stay the same. */
  seed?: number;
  /** Scales every error: 0 is a model compared with itself. */
  error?: number;
  /** Adds per-record outcomes, calibration, recipe and attribution. */
  complete?: boolean;
}

const defaults = {
  layers: 3,
  experts: 16,
  topK: 2,
  tokens: 24_000,
  records: 760,
  tasks: ['add', 'rev', 'srt', 'upc', 'cnt', 'get', 'bal', 'rom'],
  seed: 1,
  error: 1,
  complete: true,
};

type Shape = typeof defaults;

/** A report as `verify` would write it for a plausible small (or large) model, the same for the same shape. */
export function buildReport(shape: ReportShape = {}): Report {
  const full = { ...defaults, ...shape };
  const records = recordOutcomes(full);
  const layers = Array.from({ length: full.layers }, (_, i) => layerReport(full, i, records));
  const report: Report = {
    reference: { path: 'model.onnx', bytes: 5_612_345, parameters: 1_400_000, sha256: 'aa11'.repeat(16) },
    quantized: {
      path: `model.w4a4.onnx`,
      bytes: 1_104_220,
      parameters: 1_400_000,
      sha256: 'bb22'.repeat(16),
    },
    data: { records: full.records, tokens: sum(records.tokens), sha256: 'cc33'.repeat(16) },
    output: outputMetrics(full, records),
    tasks: taskScores(records),
    layers,
    census: census(),
    size: { referenceBytes: 5_612_345, quantizedBytes: 1_104_220, expertBitsPerWeight: 4.25 },
    execution: {
      target: 'int',
      weights: 'int4',
      activations: 'uint8 codes of 4 bits',
      executed: true,
      provider: 'cpu',
    },
    gates: [],
  };
  if (!full.complete) return report;
  return {
    ...report,
    records,
    calibration: calibration(full),
    recipe: recipe(),
    attribution: attribution(full),
  };
}

function recordOutcomes(shape: Shape): RecordOutcomes {
  const data = seededRandom(7);
  const model = seededRandom(1000 + shape.seed);
  const indices = Array.from({ length: shape.records }, (_, i) => i);
  const tokens = indices.map(() => 8 + Math.floor(data() * ((2 * shape.tokens) / shape.records - 16)));
  const referenceNll = tokens.map((count) => count * (1.2 + 0.5 * data()));
  const solved = indices.map(() => (data() < 0.93 ? 1 : 0));
  return {
    tasks: shape.tasks,
    task: indices.map((i) => (shape.tasks.length === 0 ? null : i % shape.tasks.length)),
    exactMatch: {
      reference: shape.tasks.length === 0 ? indices.map(() => Number.NaN) : solved,
      quantized:
        shape.tasks.length === 0
          ? indices.map(() => Number.NaN)
          : solved.map((s) => (model() < 0.04 * shape.error ? 1 - s : s)),
    },
    tokens,
    predicted: tokens.map((count) => count - 1),
    nll: {
      reference: referenceNll,
      quantized: referenceNll.map(
        (nll, i) => nll + shape.error * tokens[i] * (0.01 + 0.04 * (model() - 0.4)),
      ),
    },
    kl: tokens.map((count) => shape.error * count * 0.02 * (0.5 + model())),
    topKAgreement: Array.from({ length: shape.layers }, (_, layer) => ({
      layer: `L${layer}`,
      local: tokens.map((count) => count * (1 - shape.error * 0.02 * model())),
      cumulative: tokens.map(
        (count) => count * (1 - shape.error * 0.05 * (1 + layer / shape.layers) * model()),
      ),
    })),
  };
}

function layerReport(shape: Shape, index: number, records: RecordOutcomes): LayerReport {
  const random = seededRandom(31 * index + shape.seed);
  const { local, cumulative } = records.topKAgreement[index];
  const tokens = sum(records.tokens);
  const experts = tokensPerExpert(shape, index, tokens).map((count, e) => ({
    id: String(e),
    tokens: count,
    calibrationTokens: Math.floor(count * 1.6),
    sqnrDb:
      count === 0 ? null : shape.error === 0 ? identicalDb : 21 - 3 * shape.error + 4 * (random() - 0.5),
  }));
  return {
    id: `L${index}`,
    router: {
      local: routerMetrics(sum(local) / tokens),
      cumulative: routerMetrics(sum(cumulative) / tokens),
    },
    experts,
  };
}

function routerMetrics(topKAgreement: number): RouterMetrics {
  const miss = 1 - topKAgreement;
  return {
    mse: miss * 0.4,
    kl: miss * 0.2,
    topKAgreement,
    exactSet: 1 - 1.8 * miss,
    top1Agreement: 1 - 0.7 * miss,
    weightL1: miss * 0.9,
    marginFlipRate: miss * 1.3,
  };
}

/** A long tail of experts, the last of every second layer without any token. */
function tokensPerExpert(shape: Shape, layer: number, tokens: number): number[] {
  const random = seededRandom(97 * layer + 5);
  const weights = Array.from({ length: shape.experts }, () => random() ** 3 + 0.01);
  if (layer % 2 === 1) weights[shape.experts - 1] = 0;
  return weights.map((weight) => Math.floor((weight / sum(weights)) * tokens * shape.topK));
}

function outputMetrics(shape: Shape, records: RecordOutcomes): Report['output'] {
  const predicted = sum(records.predicted);
  const perplexity = {
    reference: Math.exp(sum(records.nll!.reference) / predicted),
    quantized: Math.exp(sum(records.nll!.quantized) / predicted),
  };
  return {
    sqnrDb: shape.error === 0 ? identicalDb : 17.5 - shape.error + 0.1 * shape.seed,
    kl: sum(records.kl) / sum(records.tokens),
    top1Agreement: 1 - 0.03 * shape.error,
    perplexity,
  };
}

function taskScores(records: RecordOutcomes): Report['tasks'] {
  return Object.fromEntries(
    records.tasks.map((name, task) => {
      const mine = records.task.flatMap((t, i) => (t === task ? [i] : []));
      const score = (outcomes: number[]) => sum(mine.map((i) => outcomes[i])) / mine.length;
      const { reference, quantized } = records.exactMatch;
      return [name, { records: mine.length, reference: score(reference), quantized: score(quantized) }];
    }),
  );
}

function census(): Report['census'] {
  return [
    { role: 'expert', quantizedBytes: 4_300_000, keptBytes: 0, refused: [] },
    { role: 'router', quantizedBytes: 0, keptBytes: 24_576, refused: [] },
    { role: 'attention', quantizedBytes: 0, keptBytes: 786_432, refused: [] },
    { role: 'norm', quantizedBytes: 0, keptBytes: 3_584, refused: [] },
    { role: 'embedding', quantizedBytes: 0, keptBytes: 65_536, refused: [] },
    {
      role: 'head',
      quantizedBytes: 0,
      keptBytes: 65_536,
      refused: [{ tensor: 'lm_head.weight', reason: 'it is tied to the embedding <embed_tokens>' }],
    },
  ];
}

function calibration(shape: Shape): Calibration {
  const layers = Array.from({ length: shape.layers }, (_, index) => {
    const random = seededRandom(11 * index + 3);
    const starved = Math.floor(shape.experts / 5);
    const top = Array.from({ length: 8 }, (_x, i) => ({
      channel: (17 * i + index) % 128,
      before: (60 * (1 + random())) / (i + 1),
      after: 3 + random(),
    }));
    return {
      id: `L${index}`,
      tokens: shape.tokens,
      floor: 256,
      experts: {
        before: { covered: shape.experts - starved - 1, starved, unseen: 1 },
        after: { covered: shape.experts - 1, starved: 1, unseen: 0 },
      },
      channels: { top, median: { before: 1.1 + 0.1 * random(), after: 1.6 } },
    };
  });
  return { tokens: shape.tokens, layers };
}

function recipe(): Record<string, unknown> {
  return {
    scheme: 'w4a4',
    target: 'int',
    group: 'channel',
    rounding: 'gptq',
    smoothing: { method: 'expert-max', alpha: 0.5 },
    router: { bits: null, align: true },
    calibration: { data: 'calib.jsonl', floor: 256 },
  };
}

function attribution({ error }: Shape): NonNullable<Report['attribution']> {
  return {
    routing: { kl: 0.004 * error, perplexity: 4.31 },
    experts: { kl: 0.014 * error, perplexity: 4.37 },
    both: { kl: 0.02 * error, perplexity: 4.4 },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
