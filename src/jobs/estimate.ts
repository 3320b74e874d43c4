import type { QuantizeConfig } from '../config/schema.ts';
import type { Expert } from '../moe/moe-layer.ts';
import { needsHessian } from '../pipeline/rounding.ts';
import { schemeOf } from '../quantize/scheme.ts';

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
/** Floating-point operations per second of a model's run. */
const flopsPerSecond = 30e9;
const processBytes = 250e6;
/** Activations of a batch, as ONNX Runtime keeps room for them. */
const batchBytes = 350e6;

/** Rounding of one expert. In memory: its weights as stored and in float32, its codes, and XᵀX for GPTQ. */
export function estimateQuantize(expert: Expert, config: QuantizeConfig): Estimate {
  const linears = linearsOf(expert);
  const weights = weightsOf(expert);
  const widest = Math.max(...linears.map(({ weight }) => weight.cols));
  const fit = schemeOf(config.scheme).weight.ternary ? 'ternary' : config.rounding.method;
  const compensates = needsHessian(config);
  return {
    memory: processBytes + weights * 9 + (compensates ? widest ** 2 * 28 : 0),
    seconds: weights / weightsPerSecond[compensates ? 'gptq' : fit],
  };
}

/** What runs: so many weights at a time in memory, and so many multiplied by each token. */
export interface RunSize {
  inMemory: number;
  perToken: number;
}

/** A pass of tokens through a model. In memory: a batch on its way, and the weights in float32 and, once more, in codes. */
export function estimateRun({ inMemory, perToken }: RunSize, tokens: number): Estimate {
  return {
    memory: processBytes + batchBytes + inMemory * 5,
    seconds: 2 + (tokens * perToken * 2) / flopsPerSecond,
  };
}

/** Writing a model of that many bytes, a layer of it in memory at a time. */
export function estimateEmit(bytes: number, largestLayer: number): Estimate {
  return { memory: processBytes + largestLayer * 2, seconds: 0.2 + bytes / bytesPerSecond };
}

/** Weights of an expert, biases not counted. */
export function weightsOf(expert: Expert): number {
  return linearsOf(expert).reduce((sum, { weight: { rows, cols } }) => sum + rows * cols, 0);
}

/** The linears an expert has. */
export function linearsOf({ gate, up, down }: Expert): NonNullable<Expert['up']>[] {
  return [gate, up, down].filter((linear) => linear !== null);
}
