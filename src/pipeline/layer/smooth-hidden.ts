import type { ExpertStats } from '../../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../../config/schema.ts';
import type { RotationBlocks } from '../../emit/forms/rotated-form.ts';
import { ffnExperts } from '../../moe/ffn-experts.ts';
import type { Activation, MoeLayer } from '../../moe/moe-layer.ts';
import type { ExpertWeights } from '../../moe/read-expert.ts';
import { conditionalSquares, diagonalOf, type Hessian } from '../../quantize/hessian.ts';
import { leastErrorScales } from '../../quantize/least-error-scales.ts';
import { outlierScales } from '../../quantize/outlier-scales.ts';
import { schemeOf } from '../../quantize/scheme.ts';
import { smoothQuantScales } from '../../quantize/smooth.ts';
import { zigzagPermutation } from '../../quantize/zigzag.ts';
import { ortGemm as gemm } from '../../runtime/ort-gemm.ts';
import { columnAbsMax } from '../../tensor/matrix.ts';
import { compensates, needsHessian } from './rounding.ts';
import type { SettledConfig } from './variant.ts';

/** What is done to the input of an expert's `down` before it is quantized. */
export interface HiddenSmoothing {
  /** What each channel is divided by, [intermediate]; null for none. */
  scales: Float32Array | null;
  /** Another order of the expert's neurons, see `permuteNeurons`; null for their own. */
  neurons: Uint32Array | null;
}

/**
 * Tokens that show what an expert's hidden channels are like: scales fitted to fewer do harm (16 dB to 8 for one
 * token).
 */
export const fewestSmoothed = 32;

export interface HiddenSettings {
  activation: Activation;
  config: SettledConfig;
  rotation: RotationBlocks;
}

/**
 * What a config does between `up` and `down`: `auto` takes the scales of least error where a rotation makes what they
 * assume true, and statistics are at hand; in front of ternary weights, whose activations are not rounded, outliers alone.
 */
function kindOf(
  config: QuantizeConfig,
  isRotated: boolean,
): Exclude<QuantizeConfig['smoothing']['down'], 'auto'> {
  const { enabled, down } = config.smoothing;
  if (!enabled) return 'off';
  if (down !== 'auto') return down;
  const { weight, activationBits } = schemeOf(config.scheme);
  if (weight.ternary && activationBits === null) return 'otsu';
  return isRotated && needsHessian(config) ? 'error' : 'smoothquant';
}

/** Whether a config smooths between `up` and `down`, and of a layer, whether that is exact there. */
export function smoothsHidden(config: QuantizeConfig, layer?: MoeLayer): boolean {
  if (kindOf(config, false) === 'off') return false;
  return (
    !layer ||
    commutesWithScale(
      layer.activation,
      ffnExperts(layer).some(({ gate }) => gate),
    )
  );
}

/**
 * Smoothing between `up` and `down` of an expert that saw tokens, and the order in which its neurons are dealt to the
 * blocks of a rotation: by the outliers that smoothing leaves.
 */
export async function smoothHidden(
  weights: ExpertWeights,
  stats: ExpertStats,
  { activation, config, rotation }: HiddenSettings,
): Promise<HiddenSmoothing> {
  const block = rotation.hidden;
  const isExact = commutesWithScale(activation, weights.gate !== null);
  const scales = isExact ? await scalesOf(weights, stats, config, block !== null) : null;
  const { absMax } = stats.hidden;
  if (config.rotation.permute === 'none' || block === null || block === absMax.length)
    return { scales, neurons: null };
  const smoothed = scales ? absMax.map((value, j) => value / scales[j]) : absMax;
  return { scales, neurons: zigzagPermutation(smoothed, block) };
}

/** What the config divides the channels before `down` by; null for nothing. */
async function scalesOf(
  weights: ExpertWeights,
  { hidden, mass, tokens }: ExpertStats,
  config: QuantizeConfig,
  isRotated: boolean,
): Promise<Float32Array | null> {
  const kind = kindOf(config, isRotated);
  if (kind === 'off' || tokens < fewestSmoothed) return null;
  const { absMax } = hidden;
  if (kind === 'otsu') return outlierScales(absMax);
  const { weight } = weights.down;
  if (kind === 'smoothquant')
    return smoothQuantScales(
      { activationAbsMax: absMax, weightAbsMax: columnAbsMax(weight) },
      config.smoothing.alpha,
    );
  const hessian: Hessian = { rows: absMax.length, cols: absMax.length, data: hidden.gram! };
  const energy = diagonalOf(hessian).map((sum) => sum / mass);
  const exposure = await exposureOf(hessian, config);
  return leastErrorScales(
    { energy, exposure: exposure.map((sum) => sum / mass), weight },
    schemeOf(config.scheme),
  );
}

/** What rounding weights costs in each channel: all of its energy, or what compensation leaves of it. */
async function exposureOf(hessian: Hessian, config: QuantizeConfig): Promise<Float64Array> {
  const { damping } = config.rounding;
  return compensates(config) ? conditionalSquares(hessian, { damping, gemm }) : diagonalOf(hessian);
}

/** Whether scaling the rows of `up` scales the input of `down` alike: true for a plain product, and for ReLU. */
function commutesWithScale({ name, limit, upOffset }: Activation, isGated: boolean): boolean {
  if (limit !== null) return false;
  return isGated ? upOffset === 0 : name === 'relu' || name === 'identity';
}
