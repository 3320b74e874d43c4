import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import { dequantizeActivations, quantizeActivations } from '../quantize/activation.ts';
import { rotateRows } from '../quantize/hadamard.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { dequantize } from '../quantize/quantized-tensor.ts';
import { timesCodes } from '../quantize/times-codes.ts';
import type { Matrix } from '../tensor/matrix.ts';
import { matrix } from '../tensor/matrix.ts';
import { applyActivation } from './activation.ts';
import type { QuantizedExpert, QuantizedLinear } from './expert-emitter.ts';
import type { ActivationClips } from './forms/activation-clips.ts';
import { isClipped, noClips } from './forms/activation-clips.ts';
import type { RotationBlocks } from './forms/rotated-form.ts';
import type { ResolvedTarget } from './resolve-target.ts';

/** What a linear must compute on the probe inputs. */
export interface LinearRows {
  /** [probes, out] */
  rows: Matrix;
  /** What is in them beside the product, [out]; null for nothing. */
  bias: Float32Array | null;
}

/** What one expert must compute. */
export interface ExpertProbe {
  id: string;
  gate: LinearRows | null;
  up: LinearRows;
  down: LinearRows;
  /** Of the whole expert in target `qmoe`, whose linears cannot be seen apart; null elsewhere. */
  whole: LinearRows | null;
}

/** An expert's weights and what they must compute. */
export interface ProbedExpert {
  weights: QuantizedExpert;
  probe: ExpertProbe;
}

/** What decides how the experts of a layer compute. */
export interface ProbedForm {
  layer: MoeLayer;
  resolved: ResolvedTarget;
  rotation: RotationBlocks;
  /** None by default. */
  clips?: ActivationClips;
}

/** The probes of a layer. */
export interface LayerProbes extends ProbedForm {
  /** In the order they are written in. */
  experts: ExpertProbe[];
  /** Of a router in 8 bits; null for one that was left in float. */
  router: LinearProbe | null;
}

/** What a linear beside the experts must compute, without its bias. */
export interface LinearProbe extends LinearRows {
  /** Its names in the file begin with `moeq/` and this. */
  id: string;
  resolved: ResolvedTarget;
  /** Input channels. */
  width: number;
}

/** Takes the weights of a layer to the emitter, and collects their probes on the way. */
export function collectProbes(
  form: ProbedForm,
  expertOf: (expert: Expert) => ProbedExpert,
): { weightsOf: (expert: Expert) => QuantizedExpert; probes: LayerProbes } {
  const probes: LayerProbes = { ...form, experts: [], router: null };
  return {
    probes,
    weightsOf(expert) {
      const made = expertOf(expert);
      const { weights } = made;
      // Made before it was known where activations are clipped.
      const { probe } = form.clips && isClipped(form.clips) ? probeExpert(expert.id, form, weights) : made;
      probes.experts.push(probe);
      return weights;
    },
  };
}

/**
 * Notes what each linear of an expert must compute on a few inputs by the reference dequantization, with sums in
 * float64.
 */
export function probeExpert(
  id: string,
  { layer, resolved, rotation, clips = noClips }: ProbedForm,
  weights: QuantizedExpert,
): ProbedExpert {
  const { hidden, intermediate, activation } = layer;
  const { target, scheme } = resolved;
  const { gate, up, down } = weights;
  const x = rotated(shifted(probeInput(hidden), weights.shift), rotation.input);
  const h = rotated(probeInput(intermediate), rotation.hidden);
  const grid = (part: keyof ActivationClips): ActivationGrid => ({
    bits: scheme.activationBits,
    clip: clips[part],
  });
  const first = {
    gate: gate && referenceLinear(gate, x, grid('input')),
    up: referenceLinear(up, x, grid('input')),
  };
  const middle =
    target === 'qmoe' ? applyActivation(activation, first.gate?.rows ?? null, first.up.rows) : null;
  const whole = middle && referenceLinear(down, middle, { bits: null, clip: 1 });
  return { weights, probe: { id, ...first, down: referenceLinear(down, h, grid('hidden')), whole } };
}

/** Notes what a linear beside the experts must compute. */
export function probeLinear(id: string, weight: QuantizedTensor, resolved: ResolvedTarget): LinearProbe {
  const grid = { bits: resolved.scheme.activationBits, clip: 1 };
  const linear = referenceLinear({ weight, bias: null }, probeInput(weight.cols), grid);
  return { id, resolved, width: weight.cols, ...linear };
}

function shifted(x: Matrix, shift: QuantizedTensor | null): Matrix {
  if (!shift) return x;
  const { data } = dequantize(shift);
  return { ...x, data: x.data.map((value, i) => value - data[i % x.cols]) };
}

function rotated(x: Matrix, block: number | null): Matrix {
  return block === null ? x : rotateRows(x, block);
}

/** Rows of a probe input. */
export const probeRows = 4;

/**
 * [probeRows, width]: a token of normal numbers, two with outliers of four and a half standard deviations at either end,
 * one of zeros. The same at every call.
 */
export function probeInput(width: number): Matrix {
  const input = matrix(probeRows, width);
  const next = uniform();
  for (let i = 0; i < 3 * width; i++)
    input.data[i] = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  // Zero lies just beside the middle of two codes, to the left and to the right of it: so a grid that is clipped by one
  // percent already rounds the first to a code too few, the other to one too many.
  input.data.set([-4.47, 4.53], width);
  input.data.set([-4.53, 4.47], 2 * width);
  return input;
}

/** A repeatable stream of numbers in [0, 1) (a linear congruential generator; the high bits serve). */
function uniform(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

interface ActivationGrid {
  /** Null for none. */
  bits: number | null;
  clip: number;
}

/** x·Wᵀ + bias with W dequantized and x on its grid. */
function referenceLinear(
  { weight, bias }: QuantizedLinear,
  x: Matrix,
  { bits, clip }: ActivationGrid,
): LinearRows {
  const input = bits === null ? x : dequantizeActivations(quantizeActivations(x, { bits, clip }));
  const rows = timesCodes(input, weight);
  if (bias) rows.data.forEach((sum, i) => (rows.data[i] = sum + bias[i % weight.rows]));
  return { rows, bias };
}
