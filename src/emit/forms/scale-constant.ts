import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import { exactHalves } from '../../tensor/half.ts';

/**
 * Weight scales as a float32 value. They are stored as float16 where that is exact, as it is for what `safeScale` gave
 * (all but extreme weights), behind a Cast that ONNX Runtime folds when it loads the model.
 */
export function scaleConstant(
  b: Builder,
  name: string,
  shape: readonly number[],
  scales: Float32Array,
): Value {
  const halves = exactHalves(scales);
  if (!halves) return b.constant(name, 'float32', shape, scales);
  const stored = b.constant(name, 'float16', shape, halves);
  return b.cast(stored, 'float32', `${name}_float32`);
}

/**
 * The same for an operator that wants a scale per block of weights, where groups are several blocks: `shape` ends with
 * the groups of a row, and each is repeated for its blocks, by a Gather that is folded too.
 */
export function blockScaleConstant(
  b: Builder,
  name: string,
  shape: readonly number[],
  { scales, groupOfBlock }: { scales: Float32Array; groupOfBlock: readonly number[] },
): Value {
  const grouped = scaleConstant(b, name, shape, scales);
  if (groupOfBlock.length === shape.at(-1)) return grouped;
  const groups = b.constant(`${name}_groups`, 'int32', [groupOfBlock.length], groupOfBlock);
  return b.op('Gather', [grouped, groups], { axis: shape.length - 1 }, { name: `${name}_of_blocks` });
}
