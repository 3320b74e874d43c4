import { Fault } from '../fault.ts';
import type { Activation } from '../moe/moe-layer.ts';
import type { Matrix } from '../tensor/matrix.ts';

/** What `emitActivation` writes, computed here: the input of `down` from the results of the first linears. */
export function applyActivation(activation: Activation, gate: Matrix | null, up: Matrix): Matrix {
  const { limit, upOffset } = activation;
  const top = limit ?? Infinity;
  const data = up.data.map((value, i) => {
    if (!gate) return nonlinear(activation, value);
    const clipped = Math.max(-top, Math.min(top, value));
    return nonlinear(activation, Math.min(gate.data[i], top)) * (clipped + upOffset);
  });
  return { ...up, data };
}

function nonlinear({ name, alpha }: Activation, x: number): number {
  switch (name) {
    case 'silu':
      return x / (1 + Math.exp(-alpha * x));
    case 'gelu':
      return 0.5 * x * (1 + erf(x / Math.SQRT2));
    case 'gelu-tanh':
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case 'relu':
      return Math.max(x, 0);
    case 'relu2':
      return Math.max(x, 0) ** 2;
    case 'identity':
      return x;
    default:
      throw new Fault({
        code: 'ACTIVATION_UNKNOWN',
        what: 'the activation function of the experts is unknown',
      });
  }
}

/** The error function by its Taylor series, or its asymptote where that is exact in float32. */
function erf(x: number): number {
  if (Math.abs(x) > 4) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
