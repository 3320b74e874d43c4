import * as z from 'zod';
import { schemeNames } from '../quantize/scheme.ts';
import { limitsSchema } from './limits-schema.ts';
import { pathString } from './path-string.ts';

const count = () => z.int().min(1);

const calibration = z.strictObject({
  records: count().nullable().default(null).describe('Use at most this many records; null uses all.'),
  balance: z
    .strictObject({
      enabled: z.boolean().default(true).describe('Top up experts that see too few tokens.'),
      ratio: z
        .number()
        .positive()
        .default(2)
        .describe('Floor of an expert, as a multiple r of its fair share: r · k · tokens / experts.'),
      pool: pathString()
        .nullable()
        .default(null)
        .describe('Records to choose from; null takes the records of `data` beyond `calibration.records`.'),
    })
    .prefault({})
    .describe('Balance of the calibration tokens over the experts.'),
  affinity: z
    .union([z.literal('auto'), z.boolean()])
    .default('auto')
    .describe(
      'Weight each token by its routing weight in the statistics that rounding is computed from; auto tries both on calibration records where weights have 4 bits or less, and else does not.',
    ),
  byLayer: z
    .enum(['auto', 'always', 'never'])
    .default('auto')
    .describe(
      'Run the model one MoE layer at a time, with activations on disk in between; auto does above 1 GB of weights.',
    ),
  sequential: z
    .boolean()
    .default(false)
    .describe('Calibrate layer by layer, each on the output of the quantized layers before it.'),
});

const smoothing = z.strictObject({
  enabled: z.boolean().default(true).describe('Move activation outliers into the weights.'),
  alpha: z
    .number()
    .min(0)
    .max(1)
    .default(0.4)
    .describe('Share of an outlier that moves: 0 none, 1 all of it.'),
  aggregate: z
    .enum(['max', 'frequency', 'probability'])
    .default('frequency')
    .describe(
      'How the scales of the experts of a layer become one: the largest, or a mean weighted by tokens or routing.',
    ),
  router: z
    .boolean()
    .default(false)
    .describe("Let the router's own scale enter the aggregate; of use where the router is quantized too."),
  shift: z
    .union([z.literal('auto'), z.boolean()])
    .default('auto')
    .describe(
      'Subtract from the input of each expert the mean of its tokens, for which its biases make up; auto does so for activations below 8 bits on one grid per token.',
    ),
  down: z
    .enum(['auto', 'off', 'error', 'smoothquant', 'otsu'])
    .default('auto')
    .describe(
      'Smoothing between up and down inside an expert: scales that leave the least error of both roundings, by SmoothQuant, or of outlier channels only (otsu); auto: otsu for ternary weights with activations in float, error where down is rotated and GPTQ has the statistics, else smoothquant.',
    ),
});

const rotation = z.strictObject({
  input: z
    .enum(['none', 'hadamard'])
    .default('none')
    .describe('Rotation of the input of gate and up: one product of matrices per layer at run time.'),
  down: z
    .enum(['auto', 'none', 'hadamard'])
    .default('auto')
    .describe(
      'Rotation of the input of down: one product of matrices at run time; auto tries both on calibration records.',
    ),
  permute: z
    .enum(['none', 'zigzag'])
    .default('zigzag')
    .describe(
      'Order of the channels before down where it is rotated in several blocks; zigzag deals outliers to them evenly, at no cost at run time (DuQuant).',
    ),
  block: z
    .union([z.literal('auto'), count()])
    .default('auto')
    .describe(
      'At most so many channels are rotated together: the largest order of a Hadamard matrix that divides the width; auto for those that share a grid, or 128 where a token has one.',
    ),
});

const rounding = z.strictObject({
  method: z
    .enum(['rtn', 'clip', 'gptq'])
    .default('gptq')
    .describe('Round to nearest, search the clipping range, or compensate errors by the Hessian (GPTQ).'),
  damping: z
    .number()
    .positive()
    .default(0.01)
    .describe('Added to the Hessian diagonal, as a share of its mean.'),
  actOrder: z.boolean().default(true).describe('Quantize the columns of largest activation first.'),
  sweeps: z
    .int()
    .min(0)
    .default(4)
    .describe(
      'Passes of coordinate descent after GPTQ, which look back at codes settled earlier; 0 for none.',
    ),
});

const activations = z.strictObject({
  block: z
    .union([z.literal(['auto', 'token']), count()])
    .default('auto')
    .describe(
      'Below 8 bits, at most so many channels share a grid: the largest number that divides the width, or all of a token where that is less than half as many; token for one grid per token, auto for 16.',
    ),
});

const ternary = z.strictObject({
  fit: z
    .enum(['exact', 'hessian'])
    .default('hessian')
    .describe('Optimal ternary fit of each group: of the weights, or weighted by the Hessian diagonal.'),
  compensate: z
    .boolean()
    .default(true)
    .describe('Compensate errors column by column on the ternary grid (GPTQ).'),
});

const router = z.strictObject({
  bits: z
    .literal(8)
    .nullable()
    .default(null)
    .describe(
      '8 quantizes the router as EAQuant does, weights and activations, clipped by logit error and divergence of the choice; null keeps it in float.',
    ),
  realign: z
    .union([z.literal('auto'), z.boolean()])
    .default('auto')
    .describe(
      'Correct the router so that it chooses the same experts from the quantized hidden states, in each layer where that helps on calibration records held out; auto does so for activations below 8 bits and for ternary weights, given 64 records.',
    ),
});

const dense = z.strictObject({
  scheme: z
    .enum(['keep', 'w8a8', 'w4a16', 'w4a8'])
    .default('keep')
    .describe('Scheme of attention, shared experts and head.'),
});

const output = z.strictObject({
  externalData: z
    .enum(['auto', 'always', 'never'])
    .default('auto')
    .describe('Weights in a file beside the model; auto: when it would pass the 2 GB limit of one file.'),
  fewTokens: z
    .union([z.literal('auto'), z.boolean()])
    .default('auto')
    .describe(
      'Target int reads packed weights while experts have few tokens: faster there, at about twice the memory, and an operator outside the standard; auto does so for large linears of models of up to 1 GB of weights.',
    ),
});

const verify = z.strictObject({
  data: pathString()
    .nullable()
    .default(null)
    .describe('Records the report is measured on; null takes `data`.'),
  records: count().nullable().default(null).describe('Use at most this many records; null uses all.'),
  attribution: z
    .boolean()
    .default(true)
    .describe('Tell the loss from changed routing and from quantized experts apart; about twice the time.'),
  byLayer: z
    .enum(['auto', 'always', 'never'])
    .default('auto')
    .describe(
      'Run the models one MoE layer at a time: memory for one layer of each is enough; auto does so for models of more than 1 GB of weights.',
    ),
});

const gates = z.strictObject({
  min: limitsSchema
    .prefault({})
    .describe('Smallest acceptable values by report path, such as topKAgreement or task.add.'),
  max: limitsSchema
    .prefault({})
    .describe('Largest acceptable values by report path, such as perplexityRatio.'),
});

/** Every key of a quantization config: the one source of flags, file validation, JSON Schema and documentation. */
export const configSchema = z.strictObject({
  scheme: z
    .enum(schemeNames)
    .default('w4a4')
    .describe('Widths of expert weights and of the activations into experts.'),
  target: z
    .enum(['auto', 'int', 'qdq', 'nbits', 'qmoe', 'packed'])
    .default('auto')
    .describe('How the result is written; auto takes the fastest form that is exact for the scheme.'),
  group: z
    .union([z.literal(['auto', 'channel']), count()])
    .default('auto')
    .describe(
      'Weights of routed experts per scale along the input; channel for one scale per output channel; auto suits the target. In target int, whose scales are whole multiples of one step per channel, a number that divides the width.',
    ),
  data: pathString()
    .nullable()
    .default(null)
    .describe('Calibration records: a .jsonl or .npz file, or a folder of them.'),
  tokenizer: pathString()
    .nullable()
    .default(null)
    .describe('`bytes` or a tokenizer.json; null takes the one beside the model, else bytes.'),
  calibration: calibration.prefault({}).describe('Which tokens statistics are taken from.'),
  smoothing: smoothing.prefault({}).describe('Expert-aware smoothing, folded into norm, router and experts.'),
  rotation: rotation.prefault({}).describe('Rotation of the inputs of the experts.'),
  rounding: rounding.prefault({}).describe('How weights reach an integer grid.'),
  activations: activations.prefault({}).describe('How activations reach their grid.'),
  ternary: ternary.prefault({}).describe('How weights reach {-1, 0, 1}, for the ternary schemes.'),
  router: router.prefault({}).describe('What happens to the router.'),
  dense: dense.prefault({}).describe('What happens to everything that is no routed expert.'),
  output: output.prefault({}).describe('How files are written.'),
  verify: verify.prefault({}).describe('What the report is measured on.'),
  gates: gates.prefault({}).describe('Limits that turn exit code 0 into 1.'),
  threads: z
    .union([z.literal('auto'), count()])
    .default('auto')
    .describe(
      'Threads in all, at most one per core; auto takes the cores. The result does not depend on it.',
    ),
  seed: z
    .int()
    .min(0)
    .default(0)
    .describe('Seed of random choices; no step makes any, so results do not depend on it.'),
});

/** A validated quantization config. */
export type QuantizeConfig = z.output<typeof configSchema>;

/** The same as it is written: keys that were left out are absent. */
export type Settings = z.input<typeof configSchema>;
