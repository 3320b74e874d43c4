import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/** The rows of each expert, cut from a value with one row per pair. */
export function splitByExpert(b: Builder, perPair: Value, counts: Value, experts: number): Value[] {
  return b.ops(experts, 'Split', [perPair, counts], { axis: 0 }, { name: 'by_expert' });
}
