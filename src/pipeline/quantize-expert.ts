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
import { rotateHessian, rotateRows } from '../quantize/hadamard.ts';
import type { Hessian } from '../quantize/hessian.ts';
import { scaleColumns, scaleRows } from '../tensor/matrix.ts';
import { giveBuffer } from '../tensor/spare-buffers.ts';
import type { Rounding } from './rounding.ts';
import { roundingOf } from './rounding.ts';

/** What an expert's linears are divided and multiplied by; see `LayerSmoothing`. */
export interface ExpertSmoothing {
  input: Float32Array | null;
  hidden: Float32Array | null;
}

/** How one expert is to be quantized, as plain data; its weights stay in the model file. */
export interface ExpertOrder {
  id: string;
  /** Null for an expert that no calibration token reached. */
  stats: ExpertStats | null;
  smoothing: ExpertSmoothing;
}

/** What is the same for every expert of a conversion. */
export interface Recipe {
  config: QuantizeConfig;
  rotation: RotationBlocks;
}

/** Reads an expert's weights, quantizes them and notes what they must compute. */
export async function quantizeOrder(
  layer: MoeLayer,
  { id, stats, smoothing }: ExpertOrder,
  { config, rotation }: Recipe,
): Promise<ProbedExpert> {
  const expert = layer.experts.find((each) => each.id === id)!;
  const resolved = resolveTarget(config.target, config.scheme, config.group);
  const round = roundingOf(resolved.scheme, config, resolved.groupSizeOf);
  const floats = readExpert(expert);
  const weights = await quantizeExpert(floats, stats, { smoothing, rotation }, round);
  for (const linear of [floats.gate, floats.up, floats.down]) if (linear) giveBuffer(linear.weight.data);
  return probeExpert(id, { layer, resolved, rotation }, weights);
}

/** Smooths, rotates and rounds one expert's weights. `stats` is null for an expert without calibration tokens. */
async function quantizeExpert(
  weights: ExpertWeights,
  stats: ExpertStats | null,
  { smoothing, rotation }: { smoothing: ExpertSmoothing; rotation: RotationBlocks },
  round: Rounding,
): Promise<QuantizedExpert> {
  smoothWeights(weights, smoothing);
  const linear = async (
    { weight, bias }: LinearWeights,
    part: 'input' | 'hidden',
    hessian: Hessian | null,
  ): Promise<QuantizedLinear> => {
    const block = rotation[part];
    if (block === null) return { weight: await round(weight, hessian), bias };
    return { weight: await round(rotateRows(weight, block), hessian && rotateHessian(hessian, block)), bias };
  };
  const input = stats && hessianOf(stats.input, smoothing.input);
  const hidden = stats && hessianOf(stats.hidden, smoothing.hidden);
  return {
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
