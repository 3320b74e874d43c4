import type { QuantizeConfig } from '../../config/schema.ts';
import { mostPositions } from '../../data/batches.ts';
import { linearsOf, weightCount } from '../../moe/ffn-experts.ts';
import type { Expert } from '../../moe/moe-layer.ts';
import { needsHessian } from '../../pipeline/layer/rounding.ts';
import { schemeOf } from '../../quantize/scheme.ts';

/** What a step is expected to take. */
export interface Estimate {
  /** Bytes. */
  memory: number;
  /** Of one core. */
  seconds: number;
}

/** Weights read, rounded and stored per second and core; measured on 2048 x 1408 matrices on a server core. */
const weightsPerSecond = { rtn: 80e6, clip: 2.6e6, gptq: 1.1e6, ternary: 6e6 };
/** Bytes a conversion copies per second, reading, packing and writing. */
const bytesPerSecond = 300e6;
/** Floating-point operations per second of a model's run, and what a token costs besides. */
const flopsPerSecond = 30e9;
const secondsPerToken = 25e-6;
const processBytes = 250e6;
/** What experts take that are written, and then checked, at a time; measured. */
const portionBytes = 500e6;
/** What a process takes that runs models, before them. */
const runningBytes = 450e6;
/** Numbers that ONNX Runtime keeps room for, per number of the activations of a batch. */
const copies = 6;

/** Rounding of one expert. In memory: its weights as stored and in float32, its codes, and XᵀX for GPTQ. */
export function estimateQuantize(expert: Expert, config: QuantizeConfig): Estimate {
  const linears = linearsOf(expert);
  const weights = weightCount(expert);
  const widest = Math.max(...linears.map(({ weight }) => weight.cols));
  const fit = schemeOf(config.scheme).weight.ternary ? 'ternary' : config.rounding.method;
  const compensates = needsHessian(config);
  return {
    memory: processBytes + weights * 9 + (compensates ? widest ** 2 * 28 : 0),
    seconds: weights / weightsPerSecond[compensates ? 'gptq' : fit],
  };
}

/** What runs. */
export interface RunSize {
  /** Weights that are in memory at a time, and those that a token is multiplied with. */
  inMemory: number;
  perToken: number;
  /** Experts of all layers, written out one by one. */
  experts: number;
  /** Numbers that a token has on its way: between the linears of the experts it visits, and as logits. */
  activations: number;
}

/**
 * A pass of tokens through so many models in one session. In memory: a batch on its way, and the weights in float32
 * and, once more, in codes.
 */
export function estimateRun(
  { inMemory, perToken, experts, activations }: RunSize,
  tokens: number,
  models = 1,
): Estimate {
  const batch = Math.min(tokens, mostPositions) * activations * 4;
  return {
    memory: runningBytes + copies * batch + inMemory * 5,
    seconds:
      models * (planningSeconds(experts) + tokens * (secondsPerToken + (2 * perToken) / flopsPerSecond)),
  };
}

/** What ONNX Runtime takes to plan a graph before it runs, which grows with the square of the experts in it. */
function planningSeconds(experts: number): number {
  return 0.1 + experts * 8e-3 + experts ** 2 * 1e-4;
}

/**
 * Writing a model of that many bytes and checking what was written: of a layer so much at a time, all of it where its
 * experts are one operator.
 */
export function estimateEmit(bytes: number, largestLayer: number, isFused: boolean): Estimate {
  const layer = largestLayer * 2;
  const inMemory = isFused ? layer : Math.min(layer, portionBytes);
  return { memory: processBytes + inMemory, seconds: 0.2 + bytes / bytesPerSecond };
}
