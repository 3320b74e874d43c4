import { evaluateFormula } from './formula.ts';
import { gelu, geluTanh } from './graph/scalar-function.ts';
import type { Activation } from './moe-layer.ts';

/** What an activation computes; the reference for fitting and for anyone who runs a layer anew. */
export function activate(activation: Activation, gate: number | null, up: number): number {
  if (gate === null) return bounded(activation, up);
  const cut = activation.limit ?? Infinity;
  return bounded(activation, gate) * (Math.min(cut, Math.max(-cut, up)) + activation.upOffset);
}

/** The function alone, whose input is cut to at most the limit, or else what it gives. */
function bounded({ name, alpha, limit, formula }: Activation, x: number): number {
  const cut = limit ?? Infinity;
  if (name === 'elementwise') return evaluateFormula(formula!, Math.min(x, cut));
  return name === 'capped-silu' ? Math.min(silu(x, alpha), cut) : functions[name](Math.min(x, cut), alpha);
}

const silu = (x: number, alpha: number): number => x / (1 + Math.exp(-alpha * x));

const functions: Record<
  Exclude<Activation['name'], 'capped-silu' | 'elementwise'>,
  (x: number, alpha: number) => number
> = {
  silu,
  gelu,
  'gelu-tanh': geluTanh,
  relu: (x) => Math.max(x, 0),
  relu2: (x) => Math.max(x, 0) ** 2,
  identity: (x) => x,
  unknown: () => NaN,
};
