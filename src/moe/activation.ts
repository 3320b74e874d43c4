import { gelu, geluTanh } from './graph/scalar-function.ts';
import type { Activation } from './moe-layer.ts';

/** What an activation computes; the reference for fitting and for anyone who runs a layer anew. */
export function activate(
  { name, alpha, limit, upOffset }: Activation,
  gate: number | null,
  up: number,
): number {
  const cut = limit ?? Infinity;
  if (gate === null) return functions[name](Math.min(up, cut), alpha);
  return functions[name](Math.min(gate, cut), alpha) * (Math.min(cut, Math.max(-cut, up)) + upOffset);
}

const functions: Record<Activation['name'], (x: number, alpha: number) => number> = {
  silu: (x, alpha) => x / (1 + Math.exp(-alpha * x)),
  gelu,
  'gelu-tanh': geluTanh,
  relu: (x) => Math.max(x, 0),
  relu2: (x) => Math.max(x, 0) ** 2,
  identity: (x) => x,
  unknown: () => NaN,
};
