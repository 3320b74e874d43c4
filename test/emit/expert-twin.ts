import type { QuantizedExpert, QuantizedLinear } from '../../src/emit/expert-emitter.ts';
import type { ResolvedTarget } from '../../src/emit/resolve-target.ts';
import { evaluateFormula } from '../../src/moe/formula.ts';
import type { Activation, Expert } from '../../src/moe/moe-layer.ts';
import type { LinearWeights } from '../../src/moe/read-expert.ts';
import { readExpert } from '../../src/moe/read-expert.ts';
import type { ActivationGrid } from '../../src/quantize/activation.ts';
import { dequantizeActivations, quantizeActivations } from '../../src/quantize/activation.ts';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { quantizeTernary } from '../../src/quantize/ternary.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix } from '../../src/tensor/matrix.ts';

/** An expert's weights rounded to nearest. */
export function quantizeByRtn(expert: Expert, { scheme, groupsOf }: ResolvedTarget): QuantizedExpert {
  const round = ({ weight, bias }: LinearWeights): QuantizedLinear => {
    const groups = groupsOf(weight.cols);
    const { bits, ternary } = scheme.weight;
    const quantized = ternary ? quantizeTernary(weight, groups) : quantizeRtn(weight, { bits, ...groups });
    return { weight: quantized, bias };
  };
  const { gate, up, down } = readExpert(expert);
  return { shift: null, gate: gate && round(gate), up: round(up), down: round(down) };
}

/** A quantized linear on float input, slowly: activations through their grid, if there is one, float64 sums. */
export function slowLinear(
  { weight, bias }: QuantizedLinear,
  x: Matrix,
  grid: ActivationGrid | null,
): Matrix {
  const input = grid ? dequantizeActivations(quantizeActivations(x, grid)) : x;
  const w = dequantize(weight);
  const result = matrix(x.rows, w.rows);
  for (let t = 0; t < x.rows; t++) {
    for (let r = 0; r < w.rows; r++) {
      let sum = 0;
      for (let c = 0; c < w.cols; c++) sum += input.data[t * w.cols + c] * w.data[r * w.cols + c];
      result.data[t * w.rows + r] = sum + (bias?.[r] ?? 0);
    }
  }
  return result;
}

/** What happens between the first linears and `down`, in float64. */
export function slowActivation(
  { name, alpha, limit, upOffset, formula }: Activation,
  gate: Matrix | null,
  up: Matrix,
): Matrix {
  const nonlinear = (v: number): number => {
    if (name === 'silu') return v / (1 + Math.exp(-alpha * v));
    if (name === 'relu') return Math.max(v, 0);
    if (name === 'relu2') return Math.max(v, 0) ** 2;
    if (name === 'gelu-tanh')
      return 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
    if (name === 'identity') return v;
    if (formula !== undefined) return evaluateFormula(formula, v);
    throw new Error(`no reference for ${name}`);
  };
  const top = limit ?? Infinity;
  const data = up.data.map((value, i) => {
    if (!gate) return nonlinear(Math.min(value, top));
    const clipped = Math.max(-top, Math.min(top, value));
    return nonlinear(Math.min(gate.data[i], top)) * (clipped + upOffset);
  });
  return { ...up, data };
}

/** Largest difference, relative to the largest magnitude of the row it stands in (rows of zeros must be zeros). */
export function rowError(actual: Matrix, expected: Matrix): number {
  if (actual.rows !== expected.rows || actual.cols !== expected.cols) return Infinity;
  let worst = 0;
  for (let r = 0; r < expected.rows; r++) {
    const at = r * expected.cols;
    let [difference, largest] = [0, 0];
    for (let i = at; i < at + expected.cols; i++) {
      // `!(a <= b)` also catches NaN.
      const gap = Math.abs(actual.data[i] - expected.data[i]);
      if (!(gap <= difference)) difference = Number.isNaN(gap) ? Infinity : gap;
      largest = Math.max(largest, Math.abs(expected.data[i]));
    }
    if (difference > 0) worst = Math.max(worst, difference / largest);
  }
  return worst;
}
