import type { LinearForm } from '../linear-form.ts';
import type { ResolvedTarget } from '../resolve-target.ts';
import { intForm } from './int-form.ts';
import type { AccuracyLevel } from './nbits-form.ts';
import { nbitsForm } from './nbits-form.ts';
import { qdqForm } from './qdq-form.ts';

export interface FormOptions {
  /**
   * Linears of integer arithmetic with more weights than this are also written for few tokens; Infinity for none. Costs
   * memory (about one byte more per weight, and five more while ONNX Runtime loads the model) and an operator outside
   * the ONNX standard.
   */
  fewRowsAbove: number;
  /** Of MatMulNBits; see there. */
  accuracyLevel: AccuracyLevel;
}

/** How the linears of a target are written; those of `qmoe`, which has none, as `nbits` has them. */
export function formOf(
  { target, gridOf }: ResolvedTarget,
  { fewRowsAbove, accuracyLevel }: FormOptions,
): LinearForm {
  if (target === 'int') return intForm((width) => gridOf(width)!, fewRowsAbove);
  if (target === 'qdq') return qdqForm(gridOf);
  return nbitsForm({ gridOf, accuracyLevel, packed: target === 'packed' });
}
