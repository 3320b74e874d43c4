import type { ChannelStats, ExpertStats } from '../calibrate/layer-stats.ts';
import type { ProbedExpert } from '../emit/parity-probes.ts';
import { probeExpert } from '../emit/parity-probes.ts';
import type { QuantizedExpert, QuantizedLinear } from '../emit/quantized-expert.ts';
import type { RotationBlocks } from '../emit/rotated-form.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { ExpertWeights, LinearWeights } from '../moe/read-expert.ts';
import { readExpert } from '../moe/read-expert.ts';
import { dequantize } from '../quantize/dequantize.ts';
import { rotateHessian, rotateRows } from '../quantize/hadamard.ts';
import type { Hessian } from '../quantize/hessian.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { roundToHalf } from '../tensor/half.ts';
import { scaleColumns, scaleRows } from '../tensor/matrix.ts';
import { giveBuffer } from '../tensor/spare-buffers.ts';
import { permuteHessian, permuteNeurons } from './permute-neurons.ts';
import type { Rounding } from './rounding.ts';
import { roundingOf } from './rounding.ts';

/** What an expert's linears are divided and multiplied by, and what is taken from their input; see `LayerSmoothing`. */
export interface ExpertSmoothing {
  input: Float32Array | null;
  hidden: Float32Array | null;
  shift: QuantizedTensor | null;
}

/** How one expert is to be quantized, as plain data; its weights stay in the model file. */
export interface ExpertOrder {
  id: string;
  /** Null for an expert that no calibration token reached. */
  stats: ExpertStats | null;
  smoothing: ExpertSmoothing;
  /** Another order of its neurons, see `permuteNeurons`; null for their own. */
  neurons: Uint32Array | null;
}

/** What is the same for every expert of a conversion. */
export interface Recipe {
  config: QuantizeConfig;
  rotation: RotationBlocks;
}

/** Reads an expert's weights, quantizes them and notes what they must compute. */
export async function quantizeOrder(
  layer: MoeLayer,
  { id, ...order }: ExpertOrder,
  { config, rotation }: Recipe,
): Promise<ProbedExpert> {
  const expert = layer.experts.find((each) => each.id === id)!;
  const resolved = resolveTarget(config.target, config.scheme, config.group);
  const round = roundingOf(resolved.scheme, config, resolved.groupSizeOf);
  const weights = await quantizeExpert(readExpert(expert), order, rotation, round);
  return probeExpert(id, { layer, resolved, rotation }, weights);
}

/** Smooths, shifts, permutes, rotates and rounds one expert's weights, one linear at a time where nothing joins them. */
async function quantizeExpert(
  floats: ExpertWeights,
  { stats, smoothing, neurons }: Omit<ExpertOrder, 'id'>,
  rotation: RotationBlocks,
  round: Rounding,
): Promise<QuantizedExpert> {
  if (smoothing.input || smoothing.hidden) smoothWeights(floats, smoothing);
  const shift = smoothing.shift && dequantize(smoothing.shift).data;
  if (shift) for (const each of [floats.gate, floats.up]) if (each) each.bias = shiftedBias(each, shift);
  const weights = neurons ? permuteNeurons(floats, neurons) : floats;
  const linear = async (
    { weight, bias }: LinearWeights,
    part: 'input' | 'hidden',
    hessian: Hessian | null,
  ): Promise<QuantizedLinear> => {
    const block = rotation[part];
    const rounded =
      block === null
        ? await round(weight, hessian)
        : await round(rotateRows(weight, block), hessian && rotateHessian(hessian, block));
    giveBuffer(weight.data);
    return { weight: rounded, bias };
  };
  const input = stats && inputHessian(stats, smoothing.input, shift);
  const smoothed = stats && hessianOf(stats.hidden, smoothing.hidden);
  const hidden = neurons && smoothed ? permuteHessian(smoothed, neurons) : smoothed;
  return {
    shift: smoothing.shift,
    gate: weights.gate && (await linear(weights.gate, 'input', input)),
    up: await linear(weights.up, 'input', input),
    down: await linear(weights.down, 'hidden', hidden),
  };
}

/** Multiplies what reads a divided input, and divides what makes the input of `down`. Exact up to rounding. */
function smoothWeights({ gate, up, down }: ExpertWeights, { input, hidden }: ExpertSmoothing): void {
  if (input) for (const linear of [gate, up]) if (linear) scaleColumns(linear.weight, input);
  if (!hidden) return;
  const inverse = hidden.map((scale) => 1 / scale);
  scaleRows(up.weight, inverse);
  up.bias?.forEach((value, r) => (up.bias![r] = value * inverse[r]));
  scaleColumns(down.weight, hidden);
}

/** What a linear adds after `shift` was taken from its input, as float16 keeps it: bias + W·shift. */
function shiftedBias(
  { weight: { rows, cols, data }, bias }: LinearWeights,
  shift: Float32Array,
): Float32Array {
  return Float32Array.from({ length: rows }, (_, r) => {
    let sum = bias?.[r] ?? 0;
    for (let c = 0; c < cols; c++) sum += data[r * cols + c] * shift[c];
    return roundToHalf(sum);
  });
}

/** (X − 1·shiftᵀ)ᵀ(X − 1·shiftᵀ) of the input X, its channels divided by their scales: from XᵀX and the mean of X. */
function inputHessian(
  { input, inputMean, mass }: ExpertStats,
  scales: Float32Array | null,
  shift: Float32Array | null,
): Hessian | null {
  const hessian = hessianOf(input, scales);
  if (!hessian || !shift) return hessian;
  const { rows: size, data } = hessian;
  const mean = inputMean.map((value, j) => value / (scales?.[j] ?? 1));
  for (let r = 0; r < size; r++) {
    for (let c = 0; c < size; c++)
      data[r * size + c] += mass * (shift[r] * shift[c] - mean[r] * shift[c] - shift[r] * mean[c]);
  }
  return hessian;
}

/** XᵀX after every channel of X was divided by its scale. */
function hessianOf({ gram, absMax }: ChannelStats, scales: Float32Array | null): Hessian | null {
  if (!gram) return null;
  const size = absMax.length;
  const data = Float64Array.from(gram);
  if (scales) {
    for (let r = 0; r < size; r++) for (let c = 0; c < size; c++) data[r * size + c] /= scales[r] * scales[c];
  }
  return { rows: size, cols: size, data };
}
