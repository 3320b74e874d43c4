import { z } from 'zod';
import { roles } from '../moe/roles.ts';

/**
 * The one definition of a report: its TypeScript types (`report.ts`), what `diff` accepts and the published
 * JSON schema all come from here. Keys are only ever added.
 */

/** A measured figure. JSON has no NaN, so `null` in a file reads as NaN: not measurable. NaN passes no gate. */
const figure = z
  .number()
  .nullable()
  .transform((value) => value ?? Number.NaN);

const count = z.number().int().nonnegative();
const counts = z.array(count);
const figures = z.array(figure);

const modelFacts = z.object({
  path: z.string(),
  bytes: count,
  parameters: count,
  sha256: z.string().exactOptional(),
});

const outputMetrics = z.object({
  sqnrDb: figure,
  kl: figure.describe('Mean KL divergence of the output distributions, reference to quantized, in nats'),
  top1Agreement: figure,
  perplexity: z.object({ reference: figure, quantized: figure }).nullable(),
});

const routerMetrics = z
  .object({
    mse: figure,
    kl: figure.describe('KL divergence of the full softmax, reference to quantized, in nats'),
    topKAgreement: figure.describe('Mean over tokens of |selected by both| / k'),
    exactSet: figure.describe('Share of tokens whose whole set of experts agrees'),
    top1Agreement: figure,
    weightL1: figure,
    topKKl: figure
      .exactOptional()
      .describe('The same of the softmax over the experts that the reference chose, in nats'),
    marginFlipRate: figure.describe(
      'Share of tokens whose logit error exceeds half the margin to the next expert',
    ),
  })
  .describe('How alike two routers choose, over the same tokens');

const expertReport = z.object({
  id: z.string(),
  tokens: count,
  calibrationTokens: count.nullable(),
  method: z
    .string()
    .exactOptional()
    .describe('How its weights were rounded: gptq, say, or clip where nothing was known of its tokens'),
  sqnrDb: z.number().nullable().describe('null: the expert saw no token, or none it could be measured on'),
  notFinite: count
    .exactOptional()
    .describe('Tokens for which its output is not finite in one of the models; absent where there is none'),
  kept: z
    .object({ local: figure, cumulative: figure })
    .exactOptional()
    .describe('Share of its tokens in the reference that the quantized router sends to it too'),
});

const layerReport = z.object({
  id: z.string(),
  router: z.object({ local: routerMetrics, cumulative: routerMetrics }),
  sqnrDb: figure.exactOptional().describe('Output of the whole layer'),
  experts: z.array(expertReport),
});

const censusRow = z.object({
  role: z.enum(roles),
  quantizedBytes: count,
  keptBytes: count,
  refused: z.array(z.object({ tensor: z.string(), reason: z.string() })),
});

const gate = z.object({
  name: z.string(),
  limit: z.number(),
  value: figure,
  ok: z.boolean(),
  bound: z.enum(['min', 'max']).exactOptional(),
  where: z.string().exactOptional().describe('The layer, expert or task the value was found at'),
  why: z.string().exactOptional().describe('What a reader must know about the value'),
});

const attributed = z.object({
  kl: figure,
  perplexity: figure.exactOptional(),
  sqnrDb: figure.exactOptional(),
});

/** EAC-MoE's question: what does each cause alone cost, against the reference? */
const attribution = z.object({
  routing: attributed.describe('Reference experts, quantized routing'),
  experts: attributed.describe('Quantized experts, reference routing'),
  both: attributed,
});

const coverage = z.object({ covered: count, starved: count, unseen: count });

const beforeAndAfter = z.object({ before: figure, after: figure });

const routerCalibration = z.object({
  realignment: z
    .object({
      ridge: z.number().nullable().describe('null: no correction helped, the router stays as it was'),
      agreement: beforeAndAfter.describe(
        'Top-k agreement on records held out, behind the corrected routers before it, without and with its correction',
      ),
    })
    .exactOptional(),
  clip: z
    .object({ ratio: z.number(), squaredError: figure, divergence: figure })
    .exactOptional()
    .describe('Of a router in 8 bits; squared logit error and divergence of the choice per token'),
});

const layerCalibration = z.object({
  id: z.string(),
  tokens: count,
  floor: count.describe('Tokens an expert needs to count as covered'),
  experts: z.object({ before: coverage, after: coverage }).describe('Before and after balancing'),
  channels: z
    .object({
      top: z.array(z.object({ channel: count, before: figure, after: figure })),
      median: beforeAndAfter,
    })
    .exactOptional()
    .describe('Largest absolute activation by channel, before and after smoothing: the worst and the median'),
  rotation: z
    .object({ input: count.nullable(), hidden: count.nullable() })
    .exactOptional()
    .describe('Channels per block of the rotations before gate and up, and before down; null for none'),
  affinity: z
    .literal(true)
    .exactOptional()
    .describe('Present where tokens counted as much as their routing weight'),
  router: routerCalibration
    .exactOptional()
    .describe('What was done to the router, where something was asked for'),
});

const calibration = z.object({
  tokens: count,
  layers: z.array(layerCalibration),
});

const perModel = z.object({ reference: figures, quantized: figures });

/**
 * Per-record outcomes, so that `diff` can tell noise from change. Every array has one entry per record of the
 * data, in its order; sums divided by their token counts give the figures of the report.
 */
const records = z.object({
  tasks: z.array(z.string()).describe('Names that `task` counts through'),
  task: z.array(count.nullable()),
  exactMatch: perModel.describe('0 or 1; null without an answer'),
  tokens: counts,
  predicted: counts.describe('Tokens that enter the perplexity'),
  nll: perModel.nullable().describe('Sums over the predicted tokens, in nats'),
  kl: figures.describe('Sums over the tokens, in nats'),
  topKAgreement: z
    .array(z.object({ layer: z.string(), local: figures, cumulative: figures }))
    .describe('Sums over the tokens, by layer'),
});

export const reportSchema = z.object({
  reference: modelFacts,
  quantized: modelFacts,
  data: z.object({ records: count, tokens: count, sha256: z.string().exactOptional() }),
  output: outputMetrics,
  tasks: z
    .record(z.string(), z.object({ records: count, reference: figure, quantized: figure }))
    .describe('Exact match per task, 0 to 1'),
  layers: z.array(layerReport),
  census: z.array(censusRow),
  size: z.object({
    referenceBytes: count,
    quantizedBytes: count,
    expertBitsPerWeight: z.number().nullable(),
  }),
  execution: z.object({
    target: z.string(),
    weights: z.string(),
    activations: z.string(),
    executed: z.boolean(),
    provider: z.string(),
  }),
  gates: z.array(gate),
  attribution: attribution.exactOptional(),
  notes: z
    .array(z.string())
    .exactOptional()
    .describe('What was left undone or could not be measured, and why'),
  calibration: calibration.exactOptional(),
  recipe: z
    .record(z.string(), z.unknown())
    .exactOptional()
    .describe('The settings that made the quantized model'),
  records: records.exactOptional(),
});

/** The JSON schema (draft 2020-12) of `report.json`. */
export function reportJsonSchema(): object {
  return z.toJSONSchema(reportSchema, { io: 'input' });
}
