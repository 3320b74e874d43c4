import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import { dequantizeActivations, quantizeActivations } from '../quantize/activation.ts';
import { dequantize } from '../quantize/dequantize.ts';
import { rotateRows } from '../quantize/hadamard.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import type { Matrix } from '../tensor/matrix.ts';
import { matrix } from '../tensor/matrix.ts';
import { applyActivation } from './apply-activation.ts';
import type { QuantizedExpert, QuantizedLinear } from './quantized-expert.ts';
import type { ResolvedTarget } from './resolve-target.ts';
import type { RotationBlocks } from './rotated-form.ts';

/** What one expert must compute on the probe inputs, [probes, out] each. */
export interface ExpertProbe {
  id: string;
  gate: Matrix | null;
  up: Matrix;
  down: Matrix;
  /** Of the whole expert in target `qmoe`, whose linears cannot be seen apart; null elsewhere. */
  whole: Matrix | null;
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
}

/** The probes of a layer. */
export interface LayerProbes extends ProbedForm {
  /** In the order they are written in. */
  experts: ExpertProbe[];
  /** What the router's product must be, [probes, experts]; null for a router that was left in float. */
  router: Matrix | null;
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
      const { weights, probe } = expertOf(expert);
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
  { layer, resolved, rotation }: ProbedForm,
  weights: QuantizedExpert,
): ProbedExpert {
  const { hidden, intermediate, activation } = layer;
  const { target, scheme } = resolved;
  const { gate, up, down } = weights;
  const x = rotated(shifted(probeInput(hidden), weights.shift), rotation.input);
  const h = rotated(probeInput(intermediate), rotation.hidden);
  const bits = scheme.activationBits;
  const first = { gate: gate && referenceLinear(gate, x, bits), up: referenceLinear(up, x, bits) };
  const middle = target === 'qmoe' ? applyActivation(activation, first.gate, first.up) : null;
  const whole = middle && referenceLinear(down, middle, null);
  return { weights, probe: { id, ...first, down: referenceLinear(down, h, bits), whole } };
}

/** Notes what a router in 8 bits must compute. `weight` is what is written of it, `bias` what its own node adds. */
export function probeRouter(probes: LayerProbes, router: QuantizedLinear): void {
  probes.router = referenceLinear(router, probeInput(probes.layer.hidden), 8);
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
export const probeRows = 3;

/**
 * [probeRows, width]: a token of normal numbers, one with an outlier of four standard deviations, one of zeros. The
 * same at every call.
 */
export function probeInput(width: number): Matrix {
  const input = matrix(probeRows, width);
  const next = uniform();
  for (let i = 0; i < 2 * width; i++)
    input.data[i] = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  input.data[width + Math.floor(width / 2)] = 4;
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

/** x·Wᵀ + bias with W dequantized and x on its grid (if `activationBits` are given). */
function referenceLinear(
  { weight, bias }: QuantizedLinear,
  x: Matrix,
  activationBits: number | null,
): Matrix {
  const input =
    activationBits === null ? x : dequantizeActivations(quantizeActivations(x, { bits: activationBits }));
  const { rows } = weight;
  const product = timesCodes(input, weight);
  return matrix(
    x.rows,
    rows,
    product.map((sum, i) => sum + (bias?.[i % rows] ?? 0)),
  );
}

/** x·Wᵀ for the probes, [probeRows, rows], with sums in float64. No weight is made, and a row of zeros costs nothing. */
function timesCodes({ rows, cols, data }: Matrix, weight: QuantizedTensor): Float32Array {
  const product = new Float32Array(rows * weight.rows);
  const tokens = Array.from({ length: rows }, (_, t) => ({
    x: Float64Array.from(data.subarray(t * cols, (t + 1) * cols)),
    sums: product.subarray(t * weight.rows, (t + 1) * weight.rows),
  })).filter(({ x }) => x.some((value) => value !== 0));
  for (let t = 0; t < tokens.length; t += 2) multiplyTwo(tokens[t], tokens[t + 1] ?? tokens[t], weight);
  return product;
}

/** A row of the input, and where its products go. */
interface ProbeToken {
  x: Float64Array;
  sums: Float32Array;
}

/** Two rows at a time: reading a code takes as long as multiplying it, and an inner loop over rows half as long again. */
function multiplyTwo(first: ProbeToken, second: ProbeToken, weight: QuantizedTensor): void {
  const { rows, cols, codes, groupSize, scales, zeroPoints } = weight;
  const [x0, x1] = [first.x, second.x];
  let group = 0;
  for (let r = 0; r < rows; r++) {
    let [sum0, sum1] = [0, 0];
    const row = codes.subarray(r * cols, (r + 1) * cols);
    for (let from = 0; from < cols; from += groupSize, group++) {
      const [to, zero, scale] = [Math.min(from + groupSize, cols), zeroPoints?.[group] ?? 0, scales[group]];
      let [part0, part1] = [0, 0];
      for (let c = from; c < to; c++) {
        const code = row[c] - zero;
        part0 += x0[c] * code;
        part1 += x1[c] * code;
      }
      sum0 += part0 * scale;
      sum1 += part1 * scale;
    }
    first.sums[r] = sum0;
    second.sums[r] = sum1;
  }
}
