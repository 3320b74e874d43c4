import type { ExpertStats } from '../../calibrate/layer-stats.ts';
import type { QuantizedExpert, QuantizedLinear } from '../../emit/expert-emitter.ts';
import type { RotationBlocks } from '../../emit/forms/rotated-form.ts';
import { isRotated } from '../../emit/forms/rotated-form.ts';
import type { MadeExpert } from '../../emit/parity-references.ts';
import { withReference } from '../../emit/parity-references.ts';
import { resolveTarget } from '../../emit/resolve-target.ts';
import type { Expert, MoeLayer } from '../../moe/moe-layer.ts';
import type { ExpertWeights, LinearWeights } from '../../moe/read-expert.ts';
import { readExpert } from '../../moe/read-expert.ts';
import { rotateHessian, rotateRows } from '../../quantize/hadamard.ts';
import type { Hessian } from '../../quantize/hessian.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { dequantize } from '../../quantize/quantized-tensor.ts';
import { roundToHalf } from '../../tensor/half.ts';
import { scaleColumns, scaleRows } from '../../tensor/matrix.ts';
import { giveBuffer } from '../../tensor/spare-buffers.ts';
import { hessianOf, inputHessian } from './expert-hessians.ts';
import { permuteHessian, permuteNeurons } from './permute-neurons.ts';
import { roundStored } from './round-stored.ts';
import type { Rounding } from './rounding.ts';
import { roundingOf } from './rounding.ts';
import type { HiddenSmoothing } from './smooth-hidden.ts';
import { smoothHidden } from './smooth-hidden.ts';
import { tellingLinear } from './telling-linear.ts';
import type { SettledConfig } from './variant.ts';

/** What an expert's input is divided by, and what is taken from it then; see `LayerSmoothing`. */
interface InputSmoothing {
  scales: Float32Array | null;
  shift: QuantizedTensor | null;
}

/** How one expert is to be quantized, as plain data; its weights stay in the model file. */
export interface ExpertOrder {
  id: string;
  /** Null for an expert that no calibration token reached. */
  stats: ExpertStats | null;
  input: InputSmoothing;
}

/** What is the same for every expert of a conversion. */
export interface Recipe {
  config: SettledConfig;
  rotation: RotationBlocks;
}

/** Reads an expert's weights, quantizes them and notes what they must compute. */
export async function quantizeOrder(
  layer: MoeLayer,
  { id, stats, input }: ExpertOrder,
  { config, rotation }: Recipe,
): Promise<MadeExpert> {
  const expert = layer.experts.find((each) => each.id === id)!;
  const resolved = resolveTarget(config);
  const round = roundingOf(resolved, config);
  if (!stats && !input.scales && !input.shift && !isRotated(rotation))
    return withReference(id, { layer, resolved, rotation }, await roundStored(expert, round));
  const floats = readExpert(expert);
  const { activation } = layer;
  const hidden =
    stats &&
    (await tellingLinear(expert, 'down', () =>
      smoothHidden(floats, stats, { activation, config, rotation }),
    ));
  const weights = await quantizeExpert(expert, floats, stats, { input, hidden, rotation }, round);
  return withReference(id, { layer, resolved, rotation }, weights);
}

/** What is done to an expert's weights before they are rounded. */
interface Preparation {
  input: InputSmoothing;
  /** Null for an expert that no token reached. */
  hidden: HiddenSmoothing | null;
  rotation: RotationBlocks;
}

/** Smooths, shifts, permutes, rotates and rounds one expert's weights, one linear at a time where nothing joins them. */
async function quantizeExpert(
  expert: Expert,
  floats: ExpertWeights,
  stats: ExpertStats | null,
  { input, hidden, rotation }: Preparation,
  round: Rounding,
): Promise<QuantizedExpert> {
  const scales = { input: input.scales, hidden: hidden?.scales ?? null };
  if (scales.input || scales.hidden) smoothWeights(floats, scales);
  const shift = input.shift && dequantize(input.shift).data;
  if (shift) for (const each of [floats.gate, floats.up]) if (each) each.bias = shiftedBias(each, shift);
  const neurons = hidden?.neurons ?? null;
  const weights = neurons ? permuteNeurons(floats, neurons) : floats;
  const linear = async (
    { weight, bias }: LinearWeights,
    part: 'gate' | 'up' | 'down',
    hessian: Hessian | null,
  ): Promise<QuantizedLinear> => {
    const block = rotation[part === 'down' ? 'hidden' : 'input'];
    const rounded = await tellingLinear(expert, part, () =>
      block === null
        ? round(weight, hessian)
        : round(rotateRows(weight, block), hessian && rotateHessian(hessian, block)),
    );
    giveBuffer(weight.data);
    return { weight: rounded, bias };
  };
  const ofInput = stats && inputHessian(stats, scales.input, shift);
  const smoothed = stats && hessianOf(stats.hidden, scales.hidden);
  const ofHidden = neurons && smoothed ? permuteHessian(smoothed, neurons) : smoothed;
  return {
    shift: input.shift,
    gate: weights.gate && (await linear(weights.gate, 'gate', ofInput)),
    up: await linear(weights.up, 'up', ofInput),
    down: await linear(weights.down, 'down', ofHidden),
  };
}

/** Multiplies what reads a divided input, and divides what makes the input of `down`. Exact up to rounding. */
function smoothWeights(
  { gate, up, down }: ExpertWeights,
  { input, hidden }: { input: Float32Array | null; hidden: Float32Array | null },
): void {
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
