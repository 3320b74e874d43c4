import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { ActivationGrid } from '../quantize/activation.ts';
import { dequantizeActivations, quantizeActivations } from '../quantize/activation.ts';
import { rotateRows } from '../quantize/hadamard.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { dequantize } from '../quantize/quantized-tensor.ts';
import { timesCodes } from '../quantize/times-codes.ts';
import type { Matrix } from '../tensor/matrix.ts';
import { matrix } from '../tensor/matrix.ts';
import { uniform } from '../tensor/uniform.ts';
import { applyActivation } from './activation.ts';
import type { QuantizedExpert, QuantizedLinear } from './expert-emitter.ts';
import type { RotationBlocks } from './forms/rotated-form.ts';
import type { ResolvedTarget } from './resolve-target.ts';

/** What a linear must compute on the inputs of `parityInput`. */
export interface LinearRows {
  /** [inputs, out] */
  rows: Matrix;
  /** What is in them beside the product, [out]; null for nothing. */
  bias: Float32Array | null;
  /** Errors are not measured by less: sums of codes that are all zero are none in kernels that add up in floats. */
  least: number;
  /** Norm that products of such inputs and weights have, see `usualNorm`. */
  usual: number;
}

/** What one expert must compute. */
export interface ExpertReference {
  id: string;
  gate: LinearRows | null;
  up: LinearRows;
  down: LinearRows;
  /** Of the whole expert in target `qmoe`, whose linears cannot be seen apart; null elsewhere. */
  whole: LinearRows | null;
}

/** An expert's weights and what they must compute. */
export interface MadeExpert {
  weights: QuantizedExpert;
  reference: ExpertReference;
}

/** What decides how the experts of a layer compute. */
export interface LayerForm {
  layer: MoeLayer;
  resolved: ResolvedTarget;
  rotation: RotationBlocks;
}

/** What a layer must compute. */
export interface LayerReference extends LayerForm {
  /** In the order they are written in. */
  experts: ExpertReference[];
  /** Of a router in 8 bits; null for one that was left in float. */
  router: LinearReference | null;
}

/** What a linear beside the experts must compute, without its bias. */
export interface LinearReference extends LinearRows {
  /** Its names in the file begin with `moeq/` and this. */
  id: string;
  resolved: ResolvedTarget;
  /** Input channels. */
  width: number;
}

/** Takes the weights of a layer to the emitter, and notes what they must compute on the way. */
export function collectReferences(
  form: LayerForm,
  expertOf: (expert: Expert) => MadeExpert,
): { weightsOf: (expert: Expert) => QuantizedExpert; reference: LayerReference } {
  const reference: LayerReference = { ...form, experts: [], router: null };
  return {
    reference,
    weightsOf(expert) {
      const made = expertOf(expert);
      reference.experts.push(made.reference);
      return made.weights;
    },
  };
}

/**
 * Notes what each linear of an expert must compute on a few inputs by the reference dequantization, with sums in
 * float64.
 */
export function withReference(
  id: string,
  { layer, resolved, rotation }: LayerForm,
  weights: QuantizedExpert,
): MadeExpert {
  const { hidden, intermediate, activation } = layer;
  const { target, gridOf } = resolved;
  const { gate, up, down } = weights;
  const x = rotated(shifted(parityInput(hidden), weights.shift), rotation.input);
  const h = rotated(parityInput(intermediate), rotation.hidden);
  const first = {
    gate: gate && linearRows(gate, x, gridOf(hidden)),
    up: linearRows(up, x, gridOf(hidden)),
  };
  const middle =
    target === 'qmoe' ? applyActivation(activation, first.gate?.rows ?? null, first.up.rows) : null;
  const whole = middle && linearRows(down, middle, null);
  return { weights, reference: { id, ...first, down: linearRows(down, h, gridOf(intermediate)), whole } };
}

/** Notes what a linear beside the experts must compute. */
export function linearReference(
  id: string,
  weight: QuantizedTensor,
  resolved: ResolvedTarget,
): LinearReference {
  const { cols } = weight;
  const linear = linearRows({ weight, bias: null }, parityInput(cols), resolved.gridOf(cols));
  return { id, resolved, width: cols, ...linear };
}

function shifted(x: Matrix, shift: QuantizedTensor | null): Matrix {
  if (!shift) return x;
  const { data } = dequantize(shift);
  return { ...x, data: x.data.map((value, i) => value - data[i % x.cols]) };
}

function rotated(x: Matrix, block: number | null): Matrix {
  return block === null ? x : rotateRows(x, block);
}

/** Rows of that input. */
export const parityRows = 4;

/**
 * [parityRows, width]: a token of normal numbers, two with outliers of four and a half standard deviations at either end,
 * one of zeros. The same at every call.
 */
export function parityInput(width: number): Matrix {
  const input = matrix(parityRows, width);
  const next = uniform();
  for (let i = 0; i < 3 * width; i++)
    input.data[i] = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  input.data.set([-4.47, 4.53], width);
  input.data.set([-4.53, 4.47], 2 * width);
  return input;
}

/** x·Wᵀ + bias with W dequantized and x on its grid, if there is one. */
function linearRows({ weight, bias }: QuantizedLinear, x: Matrix, grid: ActivationGrid | null): LinearRows {
  const input = grid ? dequantizeActivations(quantizeActivations(x, grid)) : x;
  const rows = timesCodes(input, weight);
  if (bias) rows.data.forEach((sum, i) => (rows.data[i] = sum + bias[i % weight.rows]));
  return { rows, bias, least: leastSum(weight), usual: usualNorm(input, weight) };
}

/** Weights of a row that are looked at for its mean square. */
const sampled = 64;

/**
 * The norm of x·Wᵀ, were all signs by chance: √(Σ x² · Σ_r mean_c w_rc²). On few inputs a row of large weights may nearly
 * cancel; what rounding leaves of it is small beside this, and not beside what is left of the product.
 */
function usualNorm(x: Matrix, { rows, cols, codes, groupSize, scales }: QuantizedTensor): number {
  const step = Math.max(1, Math.floor(cols / sampled));
  const groups = scales.length / rows;
  let squares = 0;
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c += step)
      squares += (codes[r * cols + c] * scales[r * groups + Math.floor(c / groupSize)]) ** 2;
  const energy = x.data.reduce((sum, value) => sum + value ** 2, 0);
  return Math.sqrt((energy * squares) / Math.ceil(cols / step));
}

/** A thousandth of a sum of codes of one. */
function leastSum({ cols, scales }: QuantizedTensor): number {
  const largest = scales.reduce((most, scale) => Math.max(most, Math.abs(scale)), 0);
  return 2 ** -10 * Math.sqrt(cols) * largest;
}
