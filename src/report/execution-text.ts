import type { Report } from './report.ts';

/**
 * What happens when a written model runs, in words. Activations on a grid of their own that are multiplied in float are
 * emulated, as their description says; weights that are only stored in few bits are not.
 */
export function executionText({
  target,
  weights,
  activations,
  executed,
  provider,
}: Report['execution']): string {
  const form = `by ONNX Runtime (${provider}) in the ${target} form`;
  const emulated = `emulated, not executed: the ${target} form computes in float`;
  const stored = activations.includes('(emulated)') ? emulated : `weights stored in few bits, run ${form}`;
  return `${executed ? `executed ${form}` : stored}; weights ${weights}, activations ${activations}`;
}
